"""The conformance kit: a good trainer passes, and each planted bug is caught by its check."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import basetrainer as bt
from basetrainer.testing import checks
from basetrainer.testing.running import differences
from tests.fixtures import planted_bugs
from tests.fixtures.planted_bugs import BUGS, Good, make, said

PAGE = Path(bt.__file__).parents[1] / "docs" / "testing.md"


def marked(check: Any, value: Any, name: str) -> Any:
    """A parameter of a test, with the mark of those that start processes."""
    marks = pytest.mark.distributed if check is checks.two_processes_equal_one else ()
    return pytest.param(value, id=name, marks=marks)


@pytest.mark.parametrize("check", [marked(check, check, check.__name__) for check in checks.CHECKS])
def test_a_trainer_without_a_bug_passes(check):
    assert said(check, Good) == ""


@pytest.mark.parametrize("bug", [marked(bug.check, bug, bug.kind.__name__) for bug in BUGS])
def test_a_bug_is_caught_by_the_check_that_is_named_for_it(bug):
    text = bug.caught()
    assert text
    row = f"| {bug.what} | `{bug.check.__name__}` | {text.partition(': ')[0]} |"
    assert row in PAGE.read_text("utf-8")


def test_the_page_names_all_of_at_least_twenty_bugs_and_every_check():
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| .* \| `(\w+)` \| .* \|$", text, re.M)
    assert len(rows) == len(BUGS) >= 20
    assert set(rows) == {check.__name__ for check in checks.CHECKS}


def test_a_check_says_where_and_what_it_usually_comes_from():
    bug = next(bug for bug in BUGS if bug.check is checks.no_host_reads)
    assert bug.caught() == (
        "Steps wait for the device: planted_bugs.py, line "
        f"{line_of('self.last = loss.item()')}, in run_step (aten::_local_scalar_dense), 3 times. "
        "Keep tensors as they are (detach and clone them) and read them in on_epoch_end, or every "
        "log_freq steps."
    )


def line_of(code: str) -> int:
    lines = Path(planted_bugs.__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if code in line)


def test_a_make_that_hides_its_settings_is_told_so():
    def deaf(**settings):
        return make(Good, **{**settings, "num_epochs": 1})

    with pytest.raises(AssertionError, match=r"make\(num_epochs=2\) returned a trainer whose cfg"):
        checks.deterministic(deaf)


def test_an_odd_batch_has_no_halves():
    with pytest.raises(AssertionError, match="batch_size 3: an even one is needed"):
        checks.accumulation_invariant(functools.partial(make, Good, batch_size=3))


def test_one_batch_is_too_few_to_look_at_a_step():
    with pytest.raises(AssertionError, match="no second step"):
        checks.no_host_reads(functools.partial(make, Good, batch_size=16))


def test_differences_are_told_by_place():
    one = {"a": [torch.ones(2), 1.0], "b": {"c": "x"}, "nan": float("nan")}
    other = {"a": [torch.tensor([1.0, 1.5]), 1.0 + 1e-9], "b": {}, "nan": one["nan"]}
    assert differences(one, one) == []
    assert differences(one, other, 1e-6) == [
        "a.0: up to 0.5 apart",
        "b.c is in one of the two only",
    ]
    assert differences({"n": 1}, {"n": 2}) == ["n: 1, and 2"]


class FixedBatch(Good):
    """Does not ask for the batch size that it is given."""

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(self.data(), 4, cfg["num_workers"])


class Normed(Good):
    """Sees each part of a batch for itself."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        layers = [nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Dropout(0.0), nn.Linear(3, 3)]
        return self.build_model_parallel(nn.Sequential(*layers), self.config.gpu_id)


def test_a_make_that_ignores_the_batch_size_is_told_so():
    assert said(checks.accumulation_invariant, FixedBatch) == (
        "make(batch_size=2) returned a trainer with batches of 4: let build_train_loader take "
        "cfg.batch_size."
    )


@pytest.mark.parametrize("check", [checks.accumulation_invariant, checks.two_processes_equal_one])
def test_a_network_that_no_comparison_of_batches_holds_for_is_refused(check):
    text = said(check, Normed)
    assert text.startswith("Sequential has 1 BatchNorm1d and 1 Dropout, which see each part")


def test_a_batch_that_has_no_halves_is_refused():
    make_odd = functools.partial(make, Good, batch_size=3)
    with pytest.raises(AssertionError, match="batch_size 3: an even one is needed"):
        checks.accumulation_invariant(make_odd)
