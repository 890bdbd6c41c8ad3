"""A trainer whose first half is frozen at first, and runs of it in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.engine.resume.state import collect
from basetrainer.models.freeze import freeze
from basetrainer.optimizer.build_optimizer import get_optimizer
from basetrainer.scheduler.build_scheduler import get_scheduler
from tests.tiny import StopAt, TinyTrainer

CFG: dict[str, Any] = {
    "num_epochs": 4,
    "progress": False,
    "work_dir": "run",
    "resume": "auto",
    "save_every_updates": 1,
    "unfreeze": [{"at_epoch": 2, "layers": "0", "lr_scale": 0.1}, {"at_epoch": 2, "layers": "1"}],
}


class Staged(TinyTrainer):
    """Twelve samples, three batches an epoch; ``cfg`` says what thaws."""

    def __init__(self, cfg: Any, *callbacks: Callback, optim: str = "adamw", **parts: Any) -> None:
        self.optim = optim
        self.make = parts.pop("make", lambda trainer: [])
        super().__init__(cfg, callbacks, **parts)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        net = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
        if cfg.get("unfreeze"):
            freeze(net, ["0", "1"])
        return self.build_model_parallel(net)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return get_optimizer(
            self.model, None, self.optim, 0.05, split_params=True, weight_decay=0.1
        )

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        made = self.make(self) or [
            get_scheduler("cosine_step", self.optimizer, 0.05, self.num_epochs, self.num_steps)
        ]
        return [
            LossesRecorder("loss"),
            *made,
            *self.given_callbacks,
            ModelCheckpoint(self.model, self.optimizer, Path(cfg["work_dir"], "model"), 9, -1),
        ]


def tree_of(trainer: TinyTrainer, logs: Any) -> Any:
    """All that a checkpoint would hold, but for what ends the run."""
    tree = collect(trainer, logs)
    for rank in tree.get("ranks", ()):
        rank["callbacks"].pop("StopAt", None)
    return tree


def assert_same(one: Any, other: Any, at: str = "") -> None:
    """Compare two trees of tensors and plain values, to the bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), at
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key, value in one.items():
            assert_same(value, other[key], f"{at}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), at
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{at}/{place}")
    else:
        assert one == other, at


def in_pieces(cfg: dict[str, Any], *stops: int, **parts: Any) -> Any:
    """Return what is left of a run that was ended after so many batches, and resumed each time."""
    for stop in stops:
        Staged(cfg, StopAt(stop), **parts).run()
    trainer = Staged(cfg, **parts)
    return tree_of(trainer, trainer.run())
