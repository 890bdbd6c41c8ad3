"""Schedules as functions: their bounds, their shape, and torch's own as oracles."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from basetrainer.errors import ConfigError
from basetrainer.scheduler import schedules
from basetrainer.scheduler.schedules import Schedule

epochs = st.integers(1, 300)
parts = st.floats(0.0, 1.0)
cycles = st.integers(1, 5)

falling: dict[str, Callable[[float, float], Schedule]] = {
    "cosine": lambda n, end: schedules.cosine(n, end=end),
    "cosine_restarts": lambda n, end: schedules.cosine_restarts(n, end=end),
    "exponential": lambda n, end: schedules.exponential(n, decay=max(end, 0.5)),
    "linear": lambda n, end: schedules.linear(n, end=end),
    "poly": lambda n, end: schedules.poly(n, end=end),
    "multi_step": lambda n, end: schedules.multi_step([n / 2, n / 3]),
    "constant": lambda n, end: schedules.constant(),
}


@pytest.mark.parametrize("name", falling)
@given(num_epochs=epochs, end=parts, t=st.floats(0, 400), later=st.floats(0, 100))
def test_a_falling_schedule_starts_at_one_and_never_rises(
    name: str, num_epochs: int, end: float, t: float, later: float
) -> None:
    factor = falling[name](num_epochs, end)
    assert factor(0.0) == pytest.approx(1.0)
    assert 0.0 <= factor(t + later) <= factor(t) + 1e-12 <= 1.0 + 2e-12


@given(n=epochs, end=parts, num_cycles=cycles, decay=st.floats(0.1, 1.0), t=st.floats(0, 400))
def test_cosines_stay_between_nothing_and_one(
    n: int, end: float, num_cycles: int, decay: float, t: float
) -> None:
    for make in (schedules.cosine, schedules.cosine_restarts):
        factor = make(n, end=end, num_cycles=num_cycles, decay=decay)
        assert -1e-12 <= factor(t) <= 1.0 + 1e-12


@given(n=epochs, pct=parts, t=st.floats(0, 400))
def test_one_cycle_stays_within_its_bounds(n: int, pct: float, t: float) -> None:
    factor = schedules.one_cycle(n, pct_start=pct)
    assert 1 / 25 / 1e4 - 1e-15 <= factor(t) <= 1.0


@given(
    n=st.integers(1, 50),
    updates=st.integers(1, 40),
    end=st.just(0.0),
    name=st.sampled_from(sorted(falling)),
)
def test_no_update_of_a_run_is_at_zero(n: int, updates: int, end: float, name: str) -> None:
    factor = falling[name](n, end)
    assert factor(n - 1 + (updates - 1) / updates) > 0.0


@given(
    warm_up=st.integers(1, 20),
    start=st.floats(0.0, 1.0),
    updates=st.integers(1, 30),
    name=st.sampled_from(sorted(falling)),
)
def test_a_warm_up_rises_in_equal_steps_to_the_schedule_and_never_above(
    warm_up: int, start: float, updates: int, name: str
) -> None:
    plain = schedules.delayed(falling[name](30, 0.0), warm_up)
    if name == "multi_step":
        plain = schedules.constant()
    factor = schedules.warmed_up(plain, warm_up, start)
    ramp = [factor(index / updates) for index in range(warm_up * updates + 1)]
    assert ramp[0] == pytest.approx(start)
    assert ramp[-1] == plain(warm_up)
    assert all(0.0 <= value <= 1.0 for value in ramp)
    steps = [b - a for a, b in itertools.pairwise(ramp)]
    assert max(steps) - min(steps) < 1e-9
    assert factor(warm_up + 7.3) == plain(warm_up + 7.3)


@given(milestones=st.lists(st.integers(0, 300), max_size=5), t=st.floats(0, 300))
def test_milestones_may_come_in_any_order_and_twice(milestones: list[int], t: float) -> None:
    given_list = list(milestones)
    factor = schedules.multi_step(milestones)
    assert factor(t) == pytest.approx(0.1 ** sum(one <= t for one in milestones))
    assert milestones == given_list


@given(t=st.floats(0, 100), n=epochs)
def test_a_schedule_by_epoch_holds_the_value_of_the_epochs_start(t: float, n: int) -> None:
    factor = schedules.linear(n)
    assert schedules.by_epoch(factor)(t) == factor(math.floor(t))


@pytest.mark.parametrize("name", falling)
def test_no_length_at_all_divides_by_nothing(name: str) -> None:
    factor = falling[name](0, 0.0)
    assert all(math.isfinite(factor(t)) for t in (0.0, 0.5, 3.0))


def run_of_torch(make: Callable[[Any], Any], count: int) -> list[float]:
    """Learning rates of torch's scheduler, first to last, from 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own closed forms and of step's order
        scheduler = make(optimizer)
        rates = []
        for _ in range(count):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    return rates


# Name -> ours and torch's, from a number of updates and the lowest factor.
ORACLES: dict[str, Callable[[int, float], tuple[Schedule, Callable[[Any], Any]]]] = {
    "constant": lambda n, end: (
        schedules.constant(),
        lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    ),
    "multi_step": lambda n, end: (
        schedules.multi_step([n, n // 3, n // 3], 0.5),
        lambda o: lr_scheduler.MultiStepLR(o, [n, n // 3, n // 3], 0.5),
    ),
    "cosine": lambda n, end: (
        schedules.cosine(n, end=end),
        lambda o: lr_scheduler.CosineAnnealingLR(o, n, eta_min=end),
    ),
    "exponential": lambda n, end: (
        schedules.exponential(n, decay=0.5 + end / 2),
        lambda o: lr_scheduler.ExponentialLR(o, (0.5 + end / 2) ** (50 / n)),
    ),
    "linear": lambda n, end: (
        schedules.linear(n, end=end),
        lambda o: lr_scheduler.LinearLR(o, 1.0, end, total_iters=n),
    ),
    "poly": lambda n, end: (
        schedules.poly(n, power=0.5 + end),
        lambda o: lr_scheduler.PolynomialLR(o, n, power=0.5 + end),
    ),
    "cosine_restarts": lambda n, end: (
        schedules.cosine_restarts(3 * n, num_cycles=3, end=end),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, n, eta_min=end),
    ),
    "longer restarts": lambda n, end: (
        schedules.cosine_restarts(7 * n, num_cycles=3, cycle_mult=2, end=end),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, n, 2, eta_min=end),
    ),
    "one_cycle": lambda n, end: (
        # torch counts its points, N + 1 of them, where we count the time between them.
        schedules.one_cycle(5 * n, pct_start=0.4),
        lambda o: lr_scheduler.OneCycleLR(
            o, 1.0, 5 * n + 1, pct_start=(2 * n + 1) / (5 * n + 1), cycle_momentum=False
        ),
    ),
    "warmed_up": lambda n, end: (
        schedules.warmed_up(schedules.delayed(schedules.cosine(2 * n, end=end), n), n),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, 0.1, total_iters=n),
                lr_scheduler.CosineAnnealingLR(o, 2 * n, eta_min=end),
            ],
            [n],
        ),
    ),
}


@pytest.mark.parametrize("name", ORACLES)
@given(n=st.integers(1, 40), end=parts)
def test_the_factors_are_those_of_torchs_own_scheduler(name: str, n: int, end: float) -> None:
    factor, make = ORACLES[name](n, end)
    assert run_of_torch(make, n) == pytest.approx([factor(t) for t in range(n)], abs=1e-9)


def test_a_restart_comes_at_its_update_though_the_length_has_no_exact_number() -> None:
    factor = schedules.cosine_restarts(10, num_cycles=3)
    updates = 3
    values = [factor(index / updates) for index in range(30)]
    assert values[10] == values[20] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: schedules.multi_step([3], gamma=0.0), "gamma: 0.0 is not more than 0"),
        (lambda: schedules.multi_step([3], gamma=1.5), "gamma: 1.5 is more than 1"),
        (lambda: schedules.multi_step(20), r"milestones: 20 is not a list.*\[30, 60\]"),  # type: ignore[arg-type]
        (lambda: schedules.multi_step("20"), "is not a list"),  # type: ignore[arg-type]
        (lambda: schedules.multi_step(["x"]), "'x' is not a number"),  # type: ignore[list-item]
        (lambda: schedules.multi_step([-1]), "-1 is less than 0"),
        (lambda: schedules.cosine(5, num_cycles=0), "num_cycles: 0 is less than 1"),
        (lambda: schedules.cosine(5, decay=1.2), "decay: 1.2 is more than 1"),
        (lambda: schedules.cosine(5, num_cycles=1.5), "num_cycles: 1.5 is not a whole number"),  # type: ignore[arg-type]
        (lambda: schedules.poly(5, power=0), "power: 0 is not more than 0"),
        (lambda: schedules.linear(5, end=-0.1), "end: -0.1 is less than 0"),
        (lambda: schedules.one_cycle(5, div_factor=0.5), "div_factor: 0.5 is less than 1"),
        (lambda: schedules.cosine_restarts(5, cycle_mult=0), "cycle_mult: 0 is not more than 0"),
        (lambda: schedules.lowest("low", 0.1), "lr_min: 'low' is not a number"),  # type: ignore[arg-type]
        (lambda: schedules.cosine_restarts(5, num_cycles=999, cycle_mult=9), "are too many"),
        (lambda: schedules.warmed_up(schedules.constant(), 2, 2.0), "warm_up_start: 2.0"),
        (lambda: schedules.lowest(-1.0, 0.1), "lr_min: -1.0 is less than 0"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
