"""Monitor: what is better, whose best it is, and why a metric is missing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from basetrainer._logs import SetLogs
from basetrainer._monitor import Monitor, best_of, deciding_monitor


class Watcher:
    """Has a monitor, as callbacks have."""

    def __init__(self, indicator: str, *, saves_best: bool = False) -> None:
        self.monitor = Monitor(indicator)
        self.saves_best = saves_best


def test_it_says_what_is_better_and_how_to_reverse_it():
    assert str(Monitor("MAE")) == (
        "MAE: smaller is better, as its name says; mode='max' reverses it"
    )
    assert str(Monitor("fig")) == "fig: larger is better; mode='min' reverses it"
    assert str(Monitor("fig", "min")) == "fig: smaller is better"
    assert str(Monitor("loss", inverse=False)) == "loss: larger is better"


def test_of_a_metric_of_a_test_set_only_its_own_name_counts():
    monitor = Monitor("errors/score")
    modes = [str(monitor.mode)]  # for all that is known
    monitor.know_sets({"errors": [], "clean": []})
    assert [*modes, monitor.mode] == ["min", "max"]
    other = Monitor("val_loss/total")
    other.know_sets({"errors": [], "clean": []})
    assert other.mode == "min"


def test_the_least_change_is_absolute_or_a_share_of_the_best():
    absolute, relative = Monitor("Acc", min_delta=0.5), Monitor("loss", min_delta=0.1)
    relative.is_relative = True
    assert [absolute.is_new_best(one, 0) for one in (1.0, 1.5, 1.6, 1.9)] == [
        True,
        False,
        True,
        False,
    ]
    assert [relative.is_new_best(one, 0) for one in (10.0, 9.0, 8.9)] == [True, False, True]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "the metric 'fig' is None, not a number"),
        ([1.0], "the metric 'fig' is of type list, not a number"),
        ("high", "the metric 'fig' is of type str, not a number"),
        (torch.zeros(2), "the metric 'fig' is of type Tensor, not a number"),
    ],
)
def test_a_metric_that_is_no_number_is_called_by_its_name(value: Any, says: str):
    for metrics in ({"fig": value}, SetLogs({"clean": {"fig": value}})):
        logs = {"test": metrics, "train": {"fig": 1.0}}
        monitor = Monitor("clean/fig" if isinstance(metrics, SetLogs) else "fig")
        assert monitor.read(logs) is None
        assert says.replace("'fig'", repr(monitor.indicator)) in monitor.why_missing(logs)


def test_a_misspelt_metric_is_answered_with_those_there_are():
    logs = {"lr": 0.1, "test": {"Acc": 1.0, "loss": {"box": 2.0}}}
    assert Monitor("Accu").why_missing(logs) == (
        "no metric is called 'Accu'. Did you mean 'Acc'? Known: Acc, loss, box"
    )
    assert Monitor("Acc").why_missing({}) == "no metric is called 'Acc'. Known: none"


@pytest.mark.parametrize("other", [Monitor("fig", "min"), Monitor("Acc")])
def test_the_best_of_another_metric_or_mode_is_not_taken_and_that_is_said_once(other: Monitor):
    other.is_new_best(90.0, 4)
    monitor = Monitor("fig")
    assert "The best begins anew, with fig: larger is better" in monitor.load_state_dict(
        other.state_dict()
    )
    assert (monitor.best, monitor.best_epoch) == (None, None)
    assert monitor.load_state_dict(other.state_dict()) == ""


def test_a_state_of_old_does_not_say_whose_it_is_and_is_taken():
    monitor = Monitor("fig")
    assert monitor.load_state_dict({"best": 2.0, "best_epoch": 1}) == ""
    assert (monitor.best, monitor.best_epoch) == (2.0, 1)


def test_what_saves_the_best_weights_decides_before_what_only_monitors():
    stop, silent, first, second = (
        Watcher("loss"),
        Watcher("", saves_best=True),
        Watcher("Acc", saves_best=True),
        Watcher("F1", saves_best=True),
    )
    assert deciding_monitor([object(), stop, silent, first, second]) is first.monitor
    assert deciding_monitor([silent, stop]) is stop.monitor
    assert deciding_monitor([silent]) is None
    assert best_of([stop, first]) is None
    first.monitor.is_new_best(50.0, 3)
    best = best_of([stop, first])
    assert best is not None
    assert (best.metric, best.value, best.epoch, best.file) == ("Acc", 50.0, 3, None)
