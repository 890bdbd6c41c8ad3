"""A key that a user's package declares is checked, explained, suggested, and decides a resume."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import basetrainer as bt
from basetrainer.config import checks
from basetrainer.config.keys import all_keys, check_key, decides_run, is_told
from basetrainer.config.values import as_int
from basetrainer.errors import ConfigError
from tests.fixtures.own_keys import MirrorKeys
from tests.tiny import TinyTrainer


def configured(monkeypatch: pytest.MonkeyPatch, text: str) -> bt.config.settings.Config:
    Path("my.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["program"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", default="my.yaml")
    return bt.parser_config(parser.parse_args())


def test_the_parser_checks_and_converts_it(monkeypatch):
    cfg = configured(monkeypatch, "mirror_share: '1e-1'\nmirror_axes: 0,1\n")
    assert (cfg.mirror_share, cfg.mirror_axes) == (0.1, [0, 1])
    assert bt.read_keys(MirrorKeys, cfg) == MirrorKeys(mirror_share=0.1, mirror_axes=(0, 1))
    assert bt.read_keys(MirrorKeys, {"mirror_share": None}) == MirrorKeys()
    with pytest.raises(ConfigError) as caught:
        configured(monkeypatch, "lr: 1\nmirror_share: -1\n")
    assert str(caught.value) == (
        "mirror_share: -1 is less than 0 (my.yaml, line 2). Write e.g. mirror_share: 0.5"
    )


def test_its_misspelling_is_noticed_once(monkeypatch, caplog):
    TinyTrainer(configured(monkeypatch, "mirror_shares: 0.1\nprogress: false\n"))
    (message,) = [line for line in caplog.messages if "Did you mean" in line]
    assert "mirror_shares (my.yaml, line 1)" in message
    assert "Did you mean mirror_share?" in message


def test_it_is_explained_with_its_default_and_its_meaning_is_known():
    text = TinyTrainer({"progress": False, "mirror_axes": [0]}).explain()
    assert "  mirror_share: 0.5  (default)" in text
    assert "  mirror_axes: [0]  (program)" in text
    assert str(all_keys()["mirror_share"]) == (
        "mirror_share: number >= 0; 0.5 by default. Share of the images that are mirrored."
    )


def test_it_decides_the_run_unless_it_is_declared_not_to():
    assert decides_run("mirror_share")
    assert not decides_run("mirror_log")
    assert not is_told("mirror_log")


def test_a_name_belongs_to_one_class():
    for name in ("mirror_share", "lr", "num_epochs", "sparsity"):
        owner = all_keys()[name].owner

        with pytest.raises(ConfigError, match=f"declares the key {name}, which {owner} declares"):
            bt.declares_keys(declaration(name))
        assert all_keys()[name].owner == owner
    for again in (1, 2):  # a cell of a notebook that is run again
        declared: type[Any] = bt.declares_keys(declaration("only_here", again))
        assert bt.read_keys(declared, {}) == declared()
        assert all_keys()["only_here"].default == again


def declaration(name: str, default: int = 1, check: checks.Check = checks.COUNT) -> type[Any]:
    """Return a class that declares one key."""

    class Declared:
        pass

    Declared.__annotations__ = {name: int}
    setattr(Declared, name, bt.key(default, check, "A number.", "4"))
    return dataclass(frozen=True)(Declared)


def test_a_field_that_is_no_key_is_refused_with_the_fix():
    @dataclass
    class Plain:
        depth: int = 3

    with pytest.raises(ConfigError, match=r"Plain\.depth is no key\. Write depth = key"):
        bt.declares_keys(Plain)


def test_the_order_of_decorators_is_explained():
    with pytest.raises(ConfigError, match="Put @declares_keys above @dataclass"):

        @dataclass
        @bt.declares_keys
        class Turned:
            depth: int = bt.key(3, checks.COUNT, "Depth.")


def test_a_subclass_declares_what_it_adds():
    @bt.declares_keys
    @dataclass(frozen=True, kw_only=True)
    class More(MirrorKeys):
        mirror_seed: int = bt.key(0, checks.FROM_ZERO, "Seed of the mirroring.")

    assert bt.read_keys(More, {"mirror_seed": "3"}) == More(mirror_seed=3)
    assert all_keys()["mirror_share"].owner.endswith("MirrorKeys")


@pytest.mark.parametrize(
    ("name", "decides", "is_warned_of"),
    [
        ("lr", True, False),
        ("net_args", True, False),
        ("accumulate_steps", True, False),
        ("sparsity", True, False),
        ("anchors", True, False),  # a program's own
        ("train_data", False, True),
        ("compile", False, True),
        ("label_file", False, True),
        ("num_epochs", False, False),
        ("cache_dir", False, False),
        ("log_freq", False, False),
        ("note", False, False),
        ("output_dir", False, False),
    ],
)
def test_every_key_decides_unless_it_is_known_not_to(name, decides, is_warned_of):
    assert (decides_run(name), is_told(name)) == (decides, is_warned_of)


def test_a_check_of_ones_own_is_a_check():
    def even(name, value, origin, *, example):
        number = as_int(name, value, origin, minimum=0)
        if number % 2:
            raise ConfigError(f"{name}: {value} is odd. Write e.g. {name}: {example}")
        return number

    bt.declares_keys(declaration("even_number", 2, checks.Check("even number", even)))
    assert check_key("even_number", "4") == 4
    with pytest.raises(ConfigError, match=r"3 is odd\. Write e.g. even_number: 4"):
        check_key("even_number", 3)
