"""PlateauLR: torch's own as oracle, evaluated epochs alone, and a state that survives."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from basetrainer.errors import ConfigError
from basetrainer.scheduler.build_scheduler import get_scheduler
from basetrainer.scheduler.plateau import PlateauLR


class FakeEngine:
    def __init__(self, test_loader: Any) -> None:
        self.test_loader = test_loader


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)


def plateau(**kwargs: Any) -> PlateauLR:
    made = get_scheduler("plateau", sgd(), 0.1, 200, 4, **kwargs)
    assert isinstance(made, PlateauLR)
    return made


@given(
    figures=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=40),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    mode=st.sampled_from(["min", "max"]),
)
def test_it_acts_as_torchs_scheduler_does(
    figures: list[float], patience: int, cooldown: int, mode: Any
) -> None:
    optimizer = sgd()
    torchs = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, 0.5, patience, cooldown=cooldown, min_lr=0.002, eps=0
    )
    ours = plateau(mode=mode, factor=0.5, patience=patience, cooldown=cooldown, lr_min=0.002)
    for epoch, figure in enumerate(figures):
        torchs.step(figure)
        ours.on_epoch_end(epoch, {"test": {"loss": figure}})
        ours.on_epoch_begin(epoch + 1)
        expected = optimizer.param_groups[0]["lr"]
        assert ours.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_an_epoch_without_evaluation_does_not_count() -> None:
    scheduler = plateau(patience=0, factor=0.5)
    engine = FakeEngine(test_loader=[1])
    scheduler.attach(engine)  # type: ignore[arg-type]
    scheduler.on_epoch_end(0, {"test": {"loss": 1.0}, "train": {"loss": 1.0}})
    for epoch in range(1, 5):
        scheduler.on_epoch_end(epoch, {"train": {"loss": 1.0}})
    assert scheduler.lr_at(5) == 0.1
    scheduler.on_epoch_end(5, {"test": {"loss": 1.0}})
    assert scheduler.lr_at(6) == 0.05


def test_without_a_test_loader_it_watches_the_training() -> None:
    scheduler = plateau(patience=0, factor=0.5)
    engine = FakeEngine(test_loader=None)
    scheduler.attach(engine)  # type: ignore[arg-type]
    for epoch in range(2):
        scheduler.on_epoch_end(epoch, {"train": {"loss": 1.0}})
    assert scheduler.lr_at(2) == 0.05


def test_epochs_of_warm_up_do_not_count_against_it() -> None:
    scheduler = plateau(patience=0, factor=0.5, num_warn_up=3)
    for epoch in range(3):
        scheduler.on_epoch_end(epoch, {"loss": 1.0 + epoch})
    assert scheduler.lr_at(3) == 0.1
    assert scheduler.lr_at(0) == pytest.approx(0.01)


def test_a_nan_is_no_progress_and_a_reduction_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = plateau(patience=0, factor=0.5)
    scheduler.on_epoch_end(0, {"loss": 0.0})
    with caplog.at_level(logging.INFO, "basetrainer"):
        scheduler.on_epoch_end(1, {"loss": math.nan})
    assert "epoch 2: loss has not improved on 0 for 1 evaluations; lr 0.1 -> 0.05" in caplog.text


def test_its_state_goes_on_where_it_was() -> None:
    first, second = plateau(patience=2, factor=0.5), plateau(patience=2, factor=0.5)
    for epoch in range(5):
        first.on_epoch_end(epoch, {"loss": 1.0})
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    for scheduler in (first, second):
        for epoch in range(5, 8):
            scheduler.on_epoch_end(epoch, {"loss": 1.0})
    assert first.lr_at(8) == second.lr_at(8) == 0.025


@pytest.mark.parametrize(
    ("kwargs", "smaller"),
    [
        ({}, True),
        ({"indicator": "Accuracy"}, False),
        ({"indicator": "mean_error"}, True),
        ({"indicator": "Accuracy", "inverse": True}, True),
        ({"mode": "max"}, False),
        ({"mode": "min", "inverse": True}, True),
    ],
)
def test_the_direction_of_progress_is_told_or_guessed(kwargs: Any, smaller: bool) -> None:
    assert plateau(**kwargs).smaller_is_better is smaller


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"mode": "least"}, "mode='least' is neither 'min'"),
        ({"mode": "max", "inverse": True}, "contradict each other"),
        ({"factor": 1.5}, "factor: 1.5 is more than 1"),
        ({"patience": -1}, "patience: -1 is less than 0"),
        ({"lr_min": -1.0}, "lr_min: -1.0 is less than 0"),
    ],
)
def test_what_cannot_be_is_refused(kwargs: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plateau(**kwargs)


def test_an_unknown_figure_is_an_error_that_lists_those_there_are() -> None:
    logs = {"lr": 0.1, "test": {"Accuracy": 50.0, "parts": {"box": 1.0}}}
    with pytest.raises(ConfigError, match=r"indicator='loss'.*Known: Accuracy, parts, box"):
        plateau().on_epoch_end(0, logs)
    with pytest.raises(ConfigError, match="Known: none"):
        plateau().on_epoch_end(0, None)
