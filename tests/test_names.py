"""Names: found in any case, suggested when misspelt; extras are asked for in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from basetrainer._names import lookup, matches, nearest
from basetrainer._optional import require
from basetrainer.errors import MissingExtraError, UnknownNameError

TABLE = {"adam": 1, "adamw": 2, "sgd": 3}


def test_a_name_is_found_in_any_case():
    assert lookup("optimizer", "AdamW", TABLE) == 2


def test_an_unknown_name_lists_the_nearest_and_all():
    with pytest.raises(
        UnknownNameError,
        match=r"Unknown optimizer 'adamwx'\. Did you mean 'adamw'\? Known: adam, adamw, sgd\.",
    ):
        lookup("optimizer", "adamwx", TABLE)
    with pytest.raises(UnknownNameError, match=r"'zzz'\. Known"):
        lookup("optimizer", "zzz", TABLE)


def test_nearest_keeps_the_spelling_of_the_known_name():
    assert nearest("celoss", ["CELoss", "mse"]) == "CELoss"


def test_a_missing_extra_says_how_to_install_it():
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[x\]'"):
        require("no_such_package.module", extra="x", needed_by="This")


def test_an_error_inside_an_installed_package_is_passed_on():
    with pytest.raises(ModuleNotFoundError, match=r"basetrainer\.absent"):
        require("basetrainer.absent", extra="x", needed_by="This")


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("layer1.0.conv1.weight", "layer1", True),
        ("layer10.conv.weight", "layer1", False),
        ("layer2.0.bias", ["conv1", "layer[12]"], True),
        ("layer2.0.bias", "*.bias", True),
        ("fc.weight", [], False),
    ],
)
def test_patterns_match_modules_and_parameters(
    name: str, patterns: str | Sequence[str], expected: bool
) -> None:
    assert matches(name, patterns) is expected
