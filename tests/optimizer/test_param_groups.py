"""Which parameters go into which group."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError
from basetrainer.optimizer.build_optimizer import get_optimizer
from basetrainer.optimizer.param_groups import is_exempt, layer_numbers, trainable


class Scale(nn.Module):
    """A layer that torch does not have, with a vector in disguise and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.matrix = nn.Parameter(torch.ones(4, 4))
        self.number = nn.Parameter(torch.ones(()))


class Encoder(nn.Module):
    """Holds most of the weights, as that of a ViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 5, 4))
        self.layers = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.mlp = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 4))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.patches = nn.Conv2d(3, 4, 2)
        self.encoder = Encoder()
        self.head = nn.Linear(4, 3)


def test_vectors_and_norms_are_exempt_from_decay_in_layers_known_and_unknown() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 2, 2]),
        nn.InstanceNorm2d(4, affine=True),
        nn.RMSNorm([4, 2]),
        Scale(),
        nn.Linear(4, 1),
        nn.Embedding(1, 4),
    )
    decaying = [entry.name for entry in trainable(model) if not is_exempt(entry)]
    assert decaying == ["0.weight", "6.matrix", "7.weight", "8.weight"]


def test_layers_are_numbered_from_the_input() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.ReLU(), Block(), nn.Linear(4, 100)
    )
    numbers = layer_numbers(model)
    assert {name: numbers[name] for name in ("0.0.weight", "0.1.bias", "2.mlp.1.bias")} == {
        "0.0.weight": 0,
        "0.1.bias": 0,
        "2.mlp.1.bias": 1,
    }
    assert numbers["3.weight"] == 2


def test_a_module_with_most_weights_counts_as_its_parts() -> None:
    numbers = layer_numbers(Transformer())
    assert numbers["token"] == numbers["patches.weight"] == 0
    assert numbers["encoder.positions"] == numbers["encoder.layers.0.mlp.0.weight"] == 1
    assert numbers["encoder.layers.1.mlp.0.weight"] == numbers["encoder.norm.weight"] == 2
    assert numbers["head.weight"] == 3


def test_tied_weights_are_there_once() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "output": nn.Linear(3, 5)})
    model["output"].weight = model["embedding"].weight
    names = [entry.name for entry in trainable(model)]
    assert names == ["embedding.weight", "output.bias"]


def test_lr_scale_multiplies_rates_by_names_and_keeps_the_split_of_weight_decay() -> None:
    model = nn.ModuleDict({"stem": nn.Linear(3, 3), "body": nn.Linear(3, 3), "fc": nn.Linear(3, 2)})
    optimizer = get_optimizer(
        model,
        None,
        "adamw",
        0.1,
        split_params=True,
        weight_decay=0.2,
        lr_scale={"[sb]*": 0.1, "stem": 0.01},
    )
    found = {
        id(one): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for one in group["params"]
    }
    for name, rate in (("stem", 0.001), ("body", 0.01), ("fc", 0.1)):
        layer = model[name]
        assert found[id(layer.weight)] == (pytest.approx(rate), 0.2)
        assert found[id(layer.bias)] == (pytest.approx(rate), 0.0)
    with pytest.raises(ConfigError, match=r"matches 'steem'\. Did you mean 'stem'"):
        get_optimizer(model, lr_scale={"steem": 0.1})
    for wrong in ({"stem": 0.0}, {"stem": "x"}, [0.1]):
        with pytest.raises(ConfigError, match="lr_scale"):
            get_optimizer(model, lr_scale=wrong)  # type: ignore[arg-type]
