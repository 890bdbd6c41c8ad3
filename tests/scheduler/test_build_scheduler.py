"""get_scheduler: names, arguments, and what is wrong with them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.errors import ConfigError, UnknownNameError
from basetrainer.scheduler import classic
from basetrainer.scheduler.build_scheduler import SCHEDULERS, get_scheduler
from basetrainer.scheduler.scheduler import LRScheduler


def made(name: str, epochs: int = 10, **kwargs: Any) -> LRScheduler:
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)
    return get_scheduler(name, optimizer, 0.1, epochs, 4, **kwargs)


@pytest.mark.parametrize(
    "name", [*SCHEDULERS, "Multi-Step", "COSINE", "CosineAnnealingLR", "ExpLR"]
)
def test_every_name_takes_what_old_programs_pass_to_all(name: str) -> None:
    scheduler = made(name, milestones=[3, 6], num_warn_up=2)
    used = [scheduler.lr_at(epoch, step) for epoch in range(10) for step in range(4)]
    assert all(0 < lr <= 0.1 + 1e-12 for lr in used)
    assert used[0] < 0.02
    assert scheduler.lr_at(2) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(
    epochs=st.integers(1, 40),
    num_warn_up=st.one_of(st.integers(0, 45), st.floats(0, 45)),
    milestones=st.lists(st.integers(0, 50), max_size=4),
)
def test_no_update_trains_at_zero_below_it_or_above_the_highest_rate(
    name: str, epochs: int, num_warn_up: float, milestones: list[int]
) -> None:
    kept = list(milestones)
    scheduler = made(name, epochs, milestones=milestones, num_warn_up=num_warn_up)
    used = [scheduler.lr_at(epoch, step) for epoch in range(epochs) for step in range(4)]
    assert min(used) > 0
    assert max(used) <= 0.1 + 1e-12
    assert milestones == kept


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("multi-step", classic.MultiStepLR),
        ("cosine", classic.CosineLR),
        ("cosineannealinglr", classic.CosineAnnealingLR),
        ("exp", classic.ExponentialLR),
        ("lambdalr", classic.LambdaLR),
    ],
)
def test_the_old_names_give_the_old_classes(name: str, kind: type) -> None:
    assert type(made(name, milestones=[])) is kind


def test_an_unknown_name_lists_the_nearest_and_all() -> None:
    with pytest.raises(UnknownNameError, match=r"No scheduler is named. Known: constant"):
        made(None)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"'cosin'. Did you mean 'cosine'\? Known: constant"):
        made("cosin")


def test_an_unknown_argument_is_not_dropped_in_silence() -> None:
    with pytest.raises(ConfigError, match=r"milestone=\[3\].*Did you mean 'milestones'\?"):
        made("multi-step", milestone=[3])
    with pytest.raises(
        ConfigError,
        match=r"got xyz=1, which no scheduler takes. 'linear' takes lr_min, min_lr_ratio, num_warm",
    ):
        made("linear", xyz=1)


def test_an_argument_of_another_schedule_is_left_aside_with_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "basetrainer"):
        made("CosineAnnealingLR", milestones=[3], gamma=0.5, num_cycles=2)
    assert "does not use milestones=[3], gamma=0.5, num_cycles=2" in caplog.text


def test_an_argument_that_is_none_counts_as_not_given() -> None:
    assert made("cosine", milestones=None, num_warn_up=None, xyz=None).num_warn_up == 0
    with pytest.raises(ConfigError, match=r"needs milestones.*milestones=\[30, 60\]"):
        made("multi-step", milestones=None)


def test_falling_schedules_end_at_lr_min() -> None:
    for name in ("linear", "poly", "cosine_restarts"):
        scheduler = made(name, lr_min=0.02, num_warn_up=2)
        assert scheduler.factor(10.0) * 0.1 == pytest.approx(0.02)
        assert scheduler.lr_at(9, 3) == pytest.approx(0.02, abs=0.005)


def test_restarts_start_again_lower() -> None:
    scheduler = made("cosine_restarts", num_cycles=2, decay=0.5)
    assert scheduler.lr_at(4, 3) < 0.01
    assert scheduler.lr_at(5, 0) == pytest.approx(0.05)


def test_one_cycle_rises_for_the_epochs_of_warm_up() -> None:
    for scheduler, top in ((made("one_cycle"), 3), (made("one_cycle", num_warn_up=5), 5)):
        used = [scheduler.lr_at(epoch, step) for epoch in range(10) for step in range(4)]
        assert used.index(max(used)) == 4 * top
        assert max(used) == pytest.approx(0.1)
        assert used[0] == pytest.approx(0.1 / 25)


def test_one_cycle_refuses_two_lengths_of_its_rise() -> None:
    with pytest.raises(ConfigError, match=r"num_warn_up=2 and pct_start=0.3.*only one"):
        made("one_cycle", num_warn_up=2, pct_start=0.3)


@pytest.mark.parametrize(("lr", "is_said"), [(5e-6, True), (1e-5, True), (0.1, False)])
def test_a_floor_that_is_not_below_the_learning_rate_is_warned_of(caplog, lr, is_said):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
    get_scheduler("cosine", optimizer, lr, 3, 10)
    assert ("is not below the learning rate" in caplog.text) is is_said
