"""freeze: parameters out of training, their BatchNorms in eval mode for good."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError
from basetrainer.models.freeze import freeze


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc(self.plain(self.body(self.stem(x))).mean((2, 3)))
        return y


def test_what_matches_is_frozen_and_nothing_else() -> None:
    model = Net()
    frozen = freeze(model, ["stem", "fc.b*"])
    assert frozen == ["stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias", "fc.bias"]
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == frozen


def test_frozen_batch_norms_keep_their_statistics_while_the_others_learn() -> None:
    model = Net()
    freeze(model, "stem")
    before = copy.deepcopy(model.state_dict())
    model.train()
    model(torch.randn(4, 3, 8, 8))
    assert [model.stem[1].training, model.body[1].training, model.body[2].training] == [
        False,
        True,
        True,
    ]
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert {name.rpartition(".")[0] for name in changed} == {"body.1", "plain"}


@pytest.mark.parametrize("patterns", ["plain", "*"])
def test_a_batch_norm_without_parameters_goes_by_its_name(patterns: str) -> None:
    model = Net()
    freeze(model, patterns)
    assert not model.train().plain.training


def test_a_frozen_model_pickles_copies_and_stays_frozen() -> None:
    model = Net()
    freeze(model, "body")
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert not other.train().body[1].training
        assert vars(other.body[1])["train"].args[0] is other.body[1]
        assert not other.body[0].weight.requires_grad


def test_tied_parameters_freeze_by_either_name() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    assert freeze(model, "b.weight") == ["b.weight"]
    assert not model["a"].weight.requires_grad


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    model = Net()
    with pytest.raises(ConfigError, match=r"matches 'layer1'. The model has stem, body, plain, fc"):
        freeze(model, ["stem", "layer1"])
    assert all(one.requires_grad for one in model.parameters())
