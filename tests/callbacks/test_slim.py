"""Slim: the soft threshold on BatchNorm scales, once per update and alike on all ranks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.slim import Slim
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError
from tests.tiny import TinyTrainer, weights

CFG: dict[str, Any] = {"num_epochs": 1, "progress": False}


def normed() -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    nn.init.uniform_(net[1].weight, -1.5, 1.5)  # type: ignore[arg-type]
    return net


def scales(trainer: Any) -> torch.Tensor:
    scale: torch.Tensor = trainer.model[1].weight
    return scale.detach().clone()


def run(cfg: dict[str, Any], callbacks: Any = (), **parts: Any) -> TinyTrainer:
    trainer = TinyTrainer({**CFG, **cfg}, callbacks, model=normed(), **parts)
    trainer.run()
    return trainer


def test_an_update_is_the_optimizers_and_then_the_soft_threshold():
    one_update = {"steps_per_epoch": 1}
    before = scales(run(one_update))
    after = scales(run({**one_update, "slim_lambda": 0.5}))
    step = 0.1 * 0.5  # lr * slim_lambda
    torch.testing.assert_close(after, before - before.clamp(-step, step))


def test_no_other_weight_is_touched_and_scales_that_cross_zero_become_zero():
    trainer = TinyTrainer(CFG, [], model=normed(), lr=0.0)
    untouched = weights(trainer).clone()
    trainer.callbacks = [Slim(10.0)]
    trainer.run()
    assert torch.equal(weights(trainer), untouched)  # with no learning rate nothing is pulled
    trainer = TinyTrainer({**CFG, "slim_lambda": 10.0}, [], model=normed(), lr=0.1)
    trainer.run()
    assert torch.equal(scales(trainer), torch.zeros(8))


def test_under_accumulation_it_acts_once_per_update():
    steps: list[int] = []

    class Counting(Slim):
        def act(self) -> None:
            assert self.engine is not None
            steps.append(self.engine.position.step)
            super().act()

    run({"accumulate_steps": 2}, [Counting(0.1)], batch_size=3)
    assert steps == [1, 3]


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_changes_nothing_about_the_step(amp):
    one_update = {"steps_per_epoch": 1, "amp": amp}
    before = scales(run(one_update))
    after = scales(run({**one_update, "slim_lambda": 0.5}))
    torch.testing.assert_close(after, before - before.clamp(-0.05, 0.05))


def test_averages_take_in_the_scales_after_the_step():
    average = EMA(0.5)
    trainer = run({"slim_lambda": 10.0, "num_epochs": 8}, [average])
    with average.swapped_in():
        assert scales(trainer).abs().max() < 0.01


def test_it_pulls_several_groups_by_their_own_rates():
    class Grouped(TinyTrainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            linear, norm, _ = self.model
            slow = {"params": norm.parameters(), "lr": 0.0}
            return torch.optim.SGD([slow, {"params": [*linear.parameters()]}], lr=0.1)

    before = scales(Grouped(CFG, [], model=normed()))
    trainer = Grouped({**CFG, "slim_lambda": 5.0}, [], model=normed())
    trainer.run()
    assert torch.equal(scales(trainer), before)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="slim_lambda"):
        Slim(0.0)
    with pytest.raises(ConfigError, match="slim_lambda: -1"):
        TinyTrainer({**CFG, "slim_lambda": -1})
    trainer = TinyTrainer({**CFG, "slim_lambda": 0.1})
    with pytest.raises(ConfigError, match="trains no BatchNorm"):
        trainer.run()


def train_slim() -> list[Any]:
    trainer = run({"slim_lambda": 0.2, "num_epochs": 2, "gpu_id": [0, 1]}, batch_size=2)
    mine = trainer.model.module[1].weight.detach().tolist()
    return trainer.context.gather(mine)


@pytest.mark.distributed
def test_two_ranks_have_the_same_scales():
    first, second = launch(train_slim, 2, start_method="fork")
    assert first == second
