"""Metrics as numbers: whatever is one becomes one, and what is none is named once."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from basetrainer._logs import SetLogs
from basetrainer._metrics import NoNumbers, as_number, flat_numbers, total_of


class Raising:
    def item(self) -> float:
        raise OSError("mine")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        (3, 3),
        (True, 1),
        (torch.tensor(3.5), 3.5),
        (torch.tensor([2.0], requires_grad=True), 2.0),
        (torch.tensor([[7]]), 7),
        (torch.tensor(True), 1),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (np.float32(0.25), 0.25),
        (np.int64(4), 4),
        (np.bool_(True), 1),
        (np.array([1.5]), 1.5),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (math.inf, math.inf),
        (10**30, 1e30),
    ],
)
def test_what_is_a_number_becomes_one_of_python(value, expected):
    found = as_number(value)
    assert found == expected
    assert type(found) in (int, float)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "3", b"3", [1.0], (), {"a": 1.0}, 1j, torch.ones(2), np.ones((2, 2))),
        *(torch.tensor(1j), torch.empty(0), object(), Raising(), 10**400, float),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_none_whatever_it_raises(value):
    assert as_number(value) is None


def test_nested_metrics_have_flat_names_at_any_depth():
    metrics = {"loss": {"box": 1.0, "more": {"a": torch.tensor(2.0)}}, 5: 6, "no": [1]}
    assert flat_numbers(metrics) == {"loss/box": 1.0, "loss/more/a": 2.0, "5": 6}
    assert flat_numbers(metrics, ["loss"]) == {"loss/box": 1.0, "loss/more/a": 2.0}
    assert flat_numbers(None) == {}


def test_one_number_stands_for_a_metric_only_where_it_means_something():
    assert total_of("loss", {"a": 1.0, "b": 2.0, "total_loss": 3.0}) == 3.0
    assert total_of("loss", {"CELoss": 1.0}) == 1.0
    assert total_of("IoU", {"circle": 50.0, "square": 40.0}) is None
    assert total_of("Acc", torch.tensor(2.0)) == 2.0


def test_what_is_no_number_is_named_once(caplog):
    look = NoNumbers().look
    metrics: dict[str, Any] = {"fig": [1], "IoU": {"map": torch.ones(2, 3)}, "none": None, "a": 1}
    for _ in range(2):
        look(metrics, "logs['test']")
        look(SetLogs(clean={"fig": "text"}), "logs['test']", ["fig"])
    assert [message.partition(", not")[0] for message in caplog.messages] == [
        "logs['test']['fig'] is of type list",
        "logs['test']['IoU']['map'] is of type Tensor of shape (2, 3)",
        "logs['test']['clean']['fig'] is of type str",
    ]
    caplog.clear()
    look(metrics, "logs['train']", ["a"])
    assert not caplog.messages
