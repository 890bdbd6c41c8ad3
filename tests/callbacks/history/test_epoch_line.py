"""The line of an epoch: numbers that mean something, on one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from basetrainer._logs import SetLogs
from basetrainer.callbacks.history.epoch_line import epoch_line, rounded


def line(logs: Any, **more: Any) -> str:
    return epoch_line(0, 12, logs, 1.0, is_best=False, **more)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_a_dict_of_losses_is_its_total_and_a_dict_of_metrics_its_parts():
    losses = {"box": 1.0, "cls": 2.0, "total_loss": 3.0}
    found = line(
        {"lr": torch.tensor(0.1), "train": {"loss": losses}, "test": {"IoU": {"a": 1, "b": 2}}}
    )
    assert found == "epoch  1/12 | train loss 3 | test IoU/a 1 IoU/b 2 | lr 0.1 | 1.0 s"


def test_tensors_are_numbers_and_what_is_none_is_left_out():
    logs = {"train": {"loss": torch.tensor([0.5]), "text": "no", "list": [1]}, "test": {}}
    assert line(logs) == "epoch  1/12 | train loss 0.5 | lr 0 | 1.0 s"
    assert rounded({"a": torch.tensor(1 / 3), "b": {"c": True, "d": [1]}}) == {
        "a": 0.333333,
        "b": {"c": True, "d": [1]},
    }


def test_indicators_shorten_the_line_but_keep_what_decides():
    logs = {"train": {"loss": 1, "a": 2}, "test": {"loss": 3, "Acc": 4, "IoU": {"x": 5, "y": 6}}}
    found = line(logs, indicators=["loss"], monitored="Acc")
    assert found == "epoch  1/12 | train loss 1 | test loss 3 Acc 4 | lr 0 | 1.0 s"


def test_many_metrics_fit_and_the_rest_is_counted(monkeypatch):
    classes = {f"class{number}": 50.0 + number for number in range(21)}
    logs = {"train": {"loss": 1.0}, "test": {"loss": 2.0, "IoU": classes, "Acc": 3.0}}
    short = line(logs, monitored="IoU/class20")
    assert len(short) <= 130
    for part in ("train loss 1", "test loss 2", "IoU/class20 70", "Acc 3", "(+20 more)"):
        assert part in short
    assert "IoU/class0" not in short
    monkeypatch.setenv("COLUMNS", "400")
    assert all(f"IoU/{name} {value:.4g}" in line(logs) for name, value in classes.items())
    sets = SetLogs({name: {"IoU": classes} for name in ("clean", "noisy")})
    monkeypatch.setenv("COLUMNS", "160")
    assert line({"train": {}, "test": sets}) == (
        "epoch  1/12 | test clean (+21 more) | test noisy (+21 more) | lr 0 | 1.0 s"
    )
