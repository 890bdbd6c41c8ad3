"""KeepZeros: what Level made 0 stays 0 in weights and averages, the rest is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.keep_zeros import KeepZeros
from basetrainer.pruning.prune import prune
from tests.tiny import TinyTrainer


class Images(nn.Module):
    """Takes the tiny points as images of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(-1, 3, 1, 1)
        return self.head(self.two(self.one(x).relu()).flatten(1))  # type: ignore[no-any-return]


def test_zeros_stay_zero_while_the_others_learn():
    sparse: Any = prune(Images(), (3, 1, 1), 0.5, "Level").model
    kept = sparse.two.weight.detach().clone()
    average = EMA(0.9)
    cfg = {"num_epochs": 3, "progress": False}
    trainer = TinyTrainer(cfg, [average], model=sparse, lr=0.3)
    assert any(isinstance(one, KeepZeros) for one in trainer.callbacks)
    trainer.run()
    two = trainer.model.two.weight.detach()
    assert torch.equal(two == 0, kept == 0)
    assert not torch.equal(two, kept)
    with average.swapped_in():
        assert torch.equal(trainer.model.two.weight == 0, kept == 0)


def test_other_networks_do_not_get_it(tiny):
    assert not any(isinstance(one, KeepZeros) for one in tiny.callbacks)
