"""averaged_model: a teacher that follows the model and is read in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from basetrainer import ConfigError
from basetrainer.errors import UsageError
from tests.callbacks.staged import CFG, Staged, assert_same, tree_of
from tests.tiny import StopAt

PLAIN = {**CFG, "unfreeze": None}


class Taught(Staged):
    """Learns from its own average."""

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        self.teacher = self.averaged_model(0.9)
        return nn.CrossEntropyLoss()

    def run_step(self, inputs: Any) -> Any:
        outputs = self.model(inputs[0])
        loss = self.criterion(outputs, inputs[1])
        return outputs, loss + (outputs - self.averaged_model()(inputs[0])).square().mean()


def test_it_follows_the_weights_update_by_update():
    wanted: list[torch.Tensor] = []

    class ByHand(Taught):
        def on_optimizer_step(self, update: int, logs: Any = None) -> None:
            with torch.no_grad():
                wanted[:] = [
                    0.9 * one + 0.1 * new
                    for one, new in zip(wanted or start, self.model.parameters(), strict=True)
                ]
            super().on_optimizer_step(update, logs)

    trainer = ByHand({**PLAIN, "resume": "never"})
    start = [one.detach().clone() for one in trainer.teacher.parameters()]
    trainer.run()
    torch.testing.assert_close([one.detach() for one in trainer.teacher.parameters()], wanted)
    assert not any(one.requires_grad for one in trainer.teacher.parameters())
    assert not trainer.teacher.training
    own = {one.data_ptr() for one in trainer.model.state_dict().values()}
    assert own.isdisjoint(one.data_ptr() for one in trainer.teacher.state_dict().values())


@pytest.mark.parametrize("stops", [(2,), (3, 4)])
def test_a_run_in_pieces_ends_with_the_same_bits(stops):
    def run(folder: str, *stops: int) -> Any:
        cfg = {**PLAIN, "work_dir": folder}
        for stop in stops:
            Taught(cfg, StopAt(stop)).run()
        trainer = Taught(cfg)
        return tree_of(trainer, trainer.run())

    assert_same(run("whole"), run("run", *stops))


def test_decay_may_be_a_function_of_the_update():
    asked: list[int] = []

    def decay(update: int) -> float:
        asked.append(update)
        return 0.0

    trainer = Staged({**PLAIN, "resume": "never", "num_epochs": 1})
    teacher = trainer.averaged_model(decay)
    trainer.run()
    assert asked == [0, 1, 2]
    assert_same(dict(teacher.named_parameters()), dict(trainer.model.named_parameters()))


def test_it_must_be_made_before_the_run():
    class Late(Staged):
        def run_step(self, inputs: Any) -> Any:
            self.averaged_model()
            return super().run_step(inputs)

    with pytest.raises(UsageError, match="Call it in build_callbacks"):
        Late({**PLAIN, "resume": "never"}).run()

    class Early(Staged):
        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            return self.averaged_model()

    with pytest.raises(ConfigError, match="no model yet"):
        Early({**PLAIN, "resume": "never"})
