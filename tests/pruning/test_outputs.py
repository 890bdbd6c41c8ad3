"""The layers that make a network's outputs are found by the graph of its gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basetrainer.pruning.outputs import output_layers, output_shapes
from tests.fixtures.pruning_nets import (
    Auxiliary,
    ResidualNet,
    SqueezeExcite,
    TwoHeads,
    images,
    trained,
)


class Summed(nn.Module):
    """Its output is the sum of two layers, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x).relu()
        return [{"map": self.norm(self.a(x) + self.b(x)).sigmoid()}]


class NoBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 4, bias=False)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x).flatten(2).transpose(1, 2)  # (N, H * W, C)
        return self.last(x).softmax(-1), x.argmax(-1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ResidualNet, {"head"}),
        (TwoHeads, {"box", "head"}),
        (SqueezeExcite, {"head"}),
        (Summed, {"a", "b"}),
        (NoBias, {"last"}),
    ],
)
def test_the_layers_of_every_kind_of_output_are_found(kind, expected):
    assert set(output_layers(trained(kind).eval(), images())) == expected


def test_shapes_are_those_of_each_mode():
    net = trained(Auxiliary)
    assert output_shapes(net, images()) == [(3, 5)]
    assert output_shapes(net, images(), train=True) == [(3, 5), (3, 5)]


def test_it_works_where_gradients_are_off():
    with torch.no_grad():
        assert output_layers(trained(ResidualNet), images()) == ["head"]
