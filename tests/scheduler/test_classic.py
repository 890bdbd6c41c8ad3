"""The old classes: importable, callable as before, with the old learning rates after warm-up."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.scheduler import classic
from basetrainer.scheduler.build_scheduler import get_scheduler
from basetrainer.scheduler.scheduler import LRScheduler

# compat.md, part (a): 20 epochs, 10 steps per epoch, lr 0.1, num_warn_up 3, milestones [8, 14],
# decay 0.95: multi-step, cosine, CosineAnnealingLR, ExpLR, LambdaLR, after the warm-up.
TABLE = """
3  .1   .1     .1     .1     -
4  .1   .09904 .09915 .08600 -
5  .1   .09619 .09662 .07395 -
6  .1   .09157 .09251 .06360 -
7  .1   .08536 .08695 .05469 .07236
8  .01  .07778 .08013 .04703 .06626
9  .01  .06914 .07229 .04045 .06
10 .01  .05976 .06368 .03478 .05374
11 .01  .05001 .05461 .02991 .04764
12 .01  .04025 .04539 .02572 .04184
13 .01  .03087 .03632 .02212 .03649
14 .001 .02223 .02771 .01902 .03172
15 .001 .01465 .01987 .01636 .02764
16 .001 .00844 .01305 .01407 .02436
17 .001 .00382 .00749 .01210 .02196
18 .001 .00097 .00338 .01040 .02049
19 .001 .00001 .00085 .00895 .02
"""
ROWS = [line.split() for line in TABLE.split("\n") if line]
NAMES = ["multi-step", "cosine", "CosineAnnealingLR", "ExpLR", "LambdaLR"]


def sgd(lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=lr)


def by_name(name: str, epochs: int = 20, num_warn_up: int = 3, lr: float = 0.1) -> LRScheduler:
    return get_scheduler(name, sgd(lr), lr, epochs, 10, milestones=[8, 14], num_warn_up=num_warn_up)


def closed_form(name: str, e: int, epochs: int, w: float, lr: float) -> float:
    """The formulas of compat.md, LambdaLR's cosine from epoch 0."""
    wave = math.cos(math.pi * (e - w) / (epochs - w - (name == "cosine")))
    forms: dict[str, float] = {
        "multi-step": lr * 0.1 ** sum(one <= e for one in (8, 14)),
        "cosine": 1e-5 + (lr - 1e-5) * (1 + wave) / 2,
        "CosineAnnealingLR": 1e-6 + (lr - 1e-6) * (1 + wave) / 2,
        "ExpLR": lr * 0.95 ** (50 * (e - w) / (epochs - w)),
        "LambdaLR": lr * (0.2 + 0.8 * (1 + math.cos(math.pi * e / epochs)) / 2),
    }
    return forms[name]


@pytest.mark.parametrize(("column", "name"), list(enumerate(NAMES, start=1)))
def test_the_learning_rates_after_warm_up_are_those_of_the_old_table(
    column: int, name: str
) -> None:
    scheduler = by_name(name)
    # The table's LambdaLR is one epoch ahead; from 7 on its faulty warm-up is over.
    shift = int(name == "LambdaLR")
    for row in ROWS:
        epoch = int(row[0]) + shift
        if row[column] == "-" or epoch == 20:
            continue
        used = {scheduler.lr_at(epoch, step) for step in range(10)}
        assert len(used) == 1
        assert used.pop() == pytest.approx(float(row[column]), abs=0.51e-5)


@pytest.mark.parametrize("name", NAMES)
@given(epochs=st.integers(5, 60), w=st.integers(0, 3), lr=st.floats(1e-4, 10.0))
def test_the_learning_rates_after_warm_up_follow_the_closed_forms(
    name: str, epochs: int, w: int, lr: float
) -> None:
    scheduler = by_name(name, epochs, w, lr)
    for e in range(w, epochs):
        expected = closed_form(name, e, epochs, w, lr)
        for step in (0, 9):
            assert scheduler.lr_at(e, step) == pytest.approx(expected, rel=1e-9)


def test_the_old_warm_up_that_was_right_still_holds() -> None:
    scheduler = by_name("CosineAnnealingLR")
    assert [scheduler.lr_at(e) for e in range(4)] == pytest.approx([0.01, 0.04, 0.07, 0.1])


@pytest.mark.parametrize("name", NAMES)
def test_warm_up_is_never_zero_negative_or_above_lr_init(name: str) -> None:
    scheduler = by_name(name)
    used = [scheduler.lr_at(e, step) for e in range(3) for step in range(10)]
    assert min(used) > 0
    assert max(used) <= 0.1
    assert used[0] == pytest.approx(0.01)
    if name != "LambdaLR":
        assert all(a < b for a, b in itertools.pairwise(used))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epochs", [3, 4])
def test_a_run_as_long_as_its_warm_up_divides_by_nothing(name: str, epochs: int) -> None:
    scheduler = by_name(name, epochs=epochs)
    used = [scheduler.lr_at(e, step) for e in range(epochs) for step in range(10)]
    assert all(0 < lr <= 0.1 for lr in used)


def test_a_milestone_at_the_end_of_the_warm_up_takes_effect_on_time() -> None:
    scheduler = get_scheduler("multi_step", sgd(), 0.1, 20, 10, milestones=[3], num_warn_up=3)
    assert scheduler.lr_at(2, 9) > 0.09
    assert scheduler.lr_at(3, 0) == pytest.approx(0.01)


def test_a_tiny_learning_rate_never_rises_to_the_old_minimum() -> None:
    scheduler = by_name("cosine", lr=1e-7)
    assert max(scheduler.lr_at(e) for e in range(20)) <= 1e-7 * (1 + 1e-12)


def test_milestones_beyond_the_run_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    milestones = [30, 5, 20]
    with caplog.at_level(logging.WARNING, "basetrainer"):
        get_scheduler("multi-step", sgd(), 0.1, 20, 10, milestones=milestones)
    assert len(caplog.records) == 1
    assert "20, 30 will not be reached in num_epochs=20" in caplog.text
    assert milestones == [30, 5, 20]


def test_no_milestones_are_a_constant() -> None:
    scheduler = get_scheduler("multi-step", sgd(), 0.1, 5, 10, milestones=[])
    assert {scheduler.lr_at(e) for e in range(5)} == {0.1}


START = "(optimizer, epochs, num_steps, "
OLD_DOORS = {
    "MultiStepLR": START + "milestones, lr_init=0.01, num_warn_up=0, gamma=0.1)",
    "CosineAnnealingLR": START + "num_cycles=1, lr_init=0.1, decay=0.99, num_warn_up=10)",
    "ExponentialLR": START + "lr_init=0.01, num_warn_up=0, decay=0.9)",
    "LambdaLR": START + "linear_lr=False, lr_init=0.1, lrf=0.2, num_warn_up=0)",
    "WarmUpLR": "(optimizer, num_steps, lr_init=0.01, num_warn_up=0)",
}


@pytest.mark.parametrize(("name", "signature"), list(OLD_DOORS.items()))
@pytest.mark.filterwarnings("ignore:basetrainer.* is an old path:DeprecationWarning")
def test_the_old_classes_are_where_they_were_with_their_signatures(
    name: str, signature: str
) -> None:
    found = getattr(importlib.import_module(f"basetrainer.scheduler.{name}"), name)
    parameters = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in inspect.signature(found).parameters.values()
        if one.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert str(inspect.Signature(parameters)) == signature


@pytest.mark.filterwarnings("ignore:basetrainer.* is an old path:DeprecationWarning")
def test_the_old_cosine_is_behind_the_same_door() -> None:
    module = importlib.import_module("basetrainer.scheduler.CosineAnnealingLR")
    assert module.CosineLR is classic.CosineLR


def test_an_old_loop_of_ones_own_works() -> None:
    optimizer = sgd()
    scheduler = classic.MultiStepLR(optimizer, 4, 2, [2], 0.1, 1)
    used: list[Any] = []
    for epoch in range(4):
        scheduler.on_epoch_begin(epoch)
        for step in range(2):
            scheduler.step(epoch, step)
            used.append(optimizer.param_groups[0]["lr"])
    assert used == pytest.approx([0.01, 0.055, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01])


def test_cycles_of_the_old_cosine_go_up_again_and_decay() -> None:
    scheduler = classic.CosineLR(sgd(), 11, 1, num_cycles=2, decay=0.5, num_warn_up=0)
    used = [scheduler.lr_at(e) for e in range(11)]
    lowest = min(range(1, 10), key=lambda e: used[e])
    assert 1 < lowest < 6
    assert used[lowest] < 0.01
    assert max(used[lowest:]) == pytest.approx(0.1 * 0.5, rel=0.2)


def test_a_line_may_take_the_place_of_lambdas_cosine() -> None:
    scheduler = classic.LambdaLR(sgd(), 5, 1, linear_lr=True)
    assert [scheduler.lr_at(e) for e in range(5)] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])


def test_a_warm_up_alone_leaves_the_rest_to_others() -> None:
    optimizer = sgd(lr=0.5)
    scheduler = classic.WarmUpLR(optimizer, 2, lr_init=0.1, num_warn_up=1)
    used = []
    for epoch in range(3):
        scheduler.on_epoch_begin(epoch)
        for step in range(2):
            scheduler.step(epoch, step)
            used.append(optimizer.param_groups[0]["lr"])
            if epoch:
                optimizer.param_groups[0]["lr"] = 7.0
    assert used == pytest.approx([0.01, 0.055, 0.1, 7.0, 7.0, 7.0])


def test_without_epochs_of_warm_up_a_warm_up_does_nothing() -> None:
    optimizer = sgd(lr=0.5)
    classic.WarmUpLR(optimizer, 2).step(0, 0)
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_up_may_be_a_part_of_an_epoch(name: str) -> None:
    scheduler = get_scheduler(name, sgd(), 0.1, 20, 10, milestones=[8], num_warn_up=0.5)
    ramp = [scheduler.lr_at(0, step) for step in range(6)]
    assert ramp == pytest.approx([0.01, 0.028, 0.046, 0.064, 0.082, 0.1])
    for e in range(1, 8):
        assert scheduler.lr_at(e, 7) == pytest.approx(closed_form(name, e, 20, 0.5, 0.1))


def test_a_warm_up_alone_of_a_part_of_an_epoch_ends_within_it() -> None:
    optimizer = sgd(lr=0.5)
    scheduler = classic.WarmUpLR(optimizer, 30, lr_init=0.1, num_warn_up=0.1)
    used = []
    for step in range(5):
        optimizer.param_groups[0]["lr"] = 7.0
        scheduler.step(0, step)
        used.append(optimizer.param_groups[0]["lr"])
    assert used == pytest.approx([0.01, 0.04, 0.07, 0.1, 7.0])
