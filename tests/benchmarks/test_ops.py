"""What a step does beyond the user's own work, counted: no load of the machine changes it."""

from __future__ import annotations

import pytest

from benchmarks.overhead.ops import count


@pytest.mark.parametrize("level", ["bare", "full", "safe"])
def test_nothing_is_read_on_the_host_between_two_log_points(level):
    assert count("ours", level)[1] == []


@pytest.mark.parametrize("level", ["full", "safe"])
def test_a_recorded_step_has_no_more_operations_than_one_by_hand(level):
    assert count("ours", level)[0] <= count("raw", level)[0]


def test_a_bare_step_has_two_operations_more_that_keep_its_loss_to_be_checked_for_nan():
    assert count("ours", "bare")[0] == count("raw", "bare")[0] + 2
