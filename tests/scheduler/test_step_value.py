"""MultiStepValue: a number that changes at milestones."""

from __future__ import annotations

import pytest

from basetrainer.errors import ConfigError
from basetrainer.scheduler.step_value import MultiStepValue


def values(value: MultiStepValue, epochs: int) -> list[float]:
    found = []
    for epoch in range(epochs):
        value.step(epoch)
        found.append(value.get_val())
    return found


def test_values_change_at_their_milestones_which_stay_as_they_are() -> None:
    milestones = [4, 2]
    value = MultiStepValue(6, 10, milestones, val_list=[1.0, 0.5, 0.2])
    assert values(value, 6) == [1.0, 1.0, 0.5, 0.5, 0.2, 0.2]
    assert milestones == [4, 2]


def test_by_default_each_value_is_a_tenth_and_the_last_the_end() -> None:
    assert values(MultiStepValue(4, 1, [1, 2], val_init=1.0), 3) == pytest.approx([1, 0.1, 0])
    kept = MultiStepValue(4, 1, [1, 2], val_init=1.0, val_end=None)
    assert values(kept, 3) == pytest.approx([1, 0.1, 0.01])
    rates = MultiStepValue(4, 1, [2], val_init=2.0, val_end=None, decay_rates=[1.0, 0.5])
    assert values(rates, 3) == [2.0, 2.0, 1.0]


def test_it_rises_from_zero_step_by_step() -> None:
    value = MultiStepValue(4, 2, [3], val_init=1.0, num_warn_up=1)
    found = []
    for step in range(3):
        value.step(0, step)
        found.append(value.get_val())
    assert found == [0.0, 0.5, 1.0]


def test_values_that_do_not_fit_the_milestones_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 milestones separate 3 values, but 2 were given"):
        MultiStepValue(4, 2, [1, 2], val_list=[1.0, 2.0])
