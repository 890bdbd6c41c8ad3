"""The work with this library, its defaults on; but for pictures at the end, which no peer draws."""

from __future__ import annotations

from typing import Any

from torch import nn

import basetrainer as bt
from benchmarks.overhead.work import EMA_DECAY, LOG_EVERY, LR, SAVE_EVERY, Work, only


class Trainer(bt.EngineTrainer):
    """Builds the work."""

    def __init__(self, cfg: Any, work: Work) -> None:
        super().__init__(cfg)
        self.work = work
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(self.work.data, 1, 0, shuffle=False, collate_fn=only)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return None

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(self.work.model)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return self.work.criterion

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return self.work.optimizer()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        if not self.work.has_figures:
            return []
        scheduler = bt.get_scheduler(
            "cosine_restarts", self.optimizer, LR, 1, self.num_steps, lr_min=0.0
        )
        return [
            bt.LossesRecorder(),
            bt.AccuracyRecorder(indicator="Accuracy"),
            bt.LogHistory(self.work.folder / "log", LOG_EVERY, pictures=False),
            scheduler,
        ]


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    cfg = {
        "work_dir": str(work.folder),
        "num_epochs": 1,
        "log_freq": LOG_EVERY,
        "progress": work.has_figures,
        "resume": "auto" if work.is_safe else "never",
    }
    if work.is_safe:
        cfg |= {"save_every_updates": SAVE_EVERY, "ema_decay": EMA_DECAY}
    trainer = Trainer(cfg, work)
    trainer.run()
    return work.model
