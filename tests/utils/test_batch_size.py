"""batch_size: what the parts of a batch agree on, whatever its shape."""

from __future__ import annotations

import dataclasses
from collections import UserDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.errors import UsageError
from basetrainer.utils.batch_size import batch_size
from tests.tiny import TinyTrainer

zeros = torch.zeros


@dataclasses.dataclass
class Pair:
    image: Any
    label: Any


BOXES = {"boxes": zeros(3, 4), "labels": zeros(3)}


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        (zeros(4, 2), 4),
        ((zeros(4, 2), zeros(4)), 4),
        ([zeros(3), "x"], 3),
        ([zeros(6, 2), zeros(6), 0.5, None], 6),
        (([zeros(1, 2), zeros(2, 2)], ["a", "b"]), 2),
        ({"name": "x", "image": zeros(5, 1)}, 5),
        ({"nested": {"image": zeros(5)}}, 5),
        ({"image": [zeros(3, 4, 4), zeros(3, 5, 5)], "id": [7, 8]}, 2),
        (({"image": zeros(6, 1)}, 1), 6),
        (UserDict(image=zeros(6, 1), label=zeros(6)), 6),
        (Pair(zeros(7, 2), zeros(7)), 7),
        ([[zeros(7, 3), zeros(7, 3)], zeros(7)], 7),  # two views
        ([[zeros(2, 3), zeros(2, 3), zeros(2, 3)], zeros(2)], 2),
        ([[zeros(7, 3), zeros(7, 3)], [zeros(7), zeros(7)]], 7),
        ([[zeros(8, 3, 4, 4), zeros(8, 3, 4, 4)]], 8),
        ((([zeros(7, 3)] * 2, zeros(7, 1)), zeros(7)), 7),
        (([zeros(3, 5, 6), zeros(3, 7, 8)], [BOXES, BOXES]), 2),  # detection
        ([(zeros(3, 8, 8), 1)] * 5, 5),  # samples as the dataset gave them
        ([{"image": zeros(3, 8, 8), "label": 1}] * 5, 5),
        ([{"image": zeros(3, 8, 8), "mask": zeros(8, 8)}] * 5, 5),
        ([{"image": zeros(8, 3, 4, 4)}, {"image": zeros(8, 3, 4, 4)}], 8),  # two domains
        ([zeros(20, 8, 4), zeros(8)], 8),  # (T, N, ...): the labels decide
        ([zeros(8, 3, 4, 4), zeros(3), zeros(8)], 8),
        ({"x": zeros(50, 3), "batch": zeros(50), "y": zeros(8)}, 8),
        ([pack_sequence([zeros(3), zeros(2)]), zeros(2)], 2),
        (SimpleNamespace(num_graphs=9, x=zeros(50)), 9),
        (SimpleNamespace(batch_size=torch.Size([9]), x=zeros(50)), 9),
        (torch.eye(4).to_sparse(), 4),
        ([np.zeros((4, 2)), np.zeros(4)], 4),
        ([1, 2, 3], 3),
        (["a", "b"], 2),
        ([], 1),
        ({}, 1),
        (torch.tensor(1.0), 1),
        (3, 1),
    ],
)
def test_the_size_of_a_batch_is_what_its_parts_agree_on(inputs, size):
    assert batch_size(inputs) == size


def test_a_nested_tensor_has_as_many_samples_as_tensors():
    jagged = torch.nested.nested_tensor([zeros(3), zeros(4)], layout=torch.jagged)
    assert batch_size([jagged, zeros(2)]) == 2


def test_where_nothing_decides_loss_count_is_asked_for():
    batch = [zeros(20, 8), zeros(15, 8)]
    with pytest.raises(UsageError, match=r"0: 20, 1: 15.*loss_count"):
        batch_size(batch)
    assert batch_size(batch, strict=False) == 20


def test_a_loss_count_of_ones_own_serves_batches_without_a_size(capsys):
    class Odd(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return [[zeros(6, 3), zeros(4, 3)]]

        def run_step(self, inputs: Any) -> Any:
            outputs = self.model(inputs[0])
            return outputs, outputs.square().mean() + 1.0

        def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> float:
            return 6

    logs = Odd({"num_epochs": 1}, [LossesRecorder()], tests=False).run()
    assert logs["train"]["loss"] >= 1.0


def test_a_batch_class_with_to_counts_the_samples_of_its_tensors() -> None:
    class Own:
        def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
            self.x, self.y, self.note = x, y, "a text"

        def to(self, device: object) -> Own:
            return self

    assert batch_size(Own(torch.zeros(5, 2), torch.zeros(5))) == 5
