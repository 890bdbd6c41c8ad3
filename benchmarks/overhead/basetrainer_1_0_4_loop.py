"""The work with the original basetrainer 1.0.4, whose name is that of this library.

Its schedules work by the epoch, and its ``LogHistory`` writes to TensorBoard by the epoch: one
callback steps torch's schedule and writes the figures of the step. Its accuracy recorder needs a
test set: it has one of one batch.
"""

from __future__ import annotations

import sys
import sysconfig
from types import SimpleNamespace
from typing import Any

from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from benchmarks.overhead.work import LOG_EVERY, Work, only

sys.path.insert(0, sysconfig.get_path("purelib"))  # before the root of this repository

from basetrainer.callbacks.callbacks import Callback  # noqa: E402
from basetrainer.engine.trainer import EngineTrainer  # noqa: E402

Theirs: Any = EngineTrainer


class ByStep(Callback):
    """Schedule and TensorBoard by the step."""

    def __init__(self, work: Work, optimizer: Any) -> None:
        super().__init__()
        from benchmarks.overhead.figures import Figures

        self.figures = Figures(work)
        self.scheduler = CosineAnnealingLR(optimizer, work.steps)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        if (batch + 1) % LOG_EVERY == 0:
            self.figures.write(batch, logs["train"]["loss"], logs["train"]["Acc"], logs["lr"])
        self.scheduler.step()

    def on_train_end(self, logs: Any = None) -> None:
        self.figures.writer.close()


class Trainer(Theirs):
    """Builds the work."""

    def __init__(self, cfg: Any, work: Work) -> None:
        super().__init__(cfg)
        self.work = work
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return DataLoader(self.work.data, 1, collate_fn=only)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        one = [self.work.data.batches[0]]
        return DataLoader(one, 1, collate_fn=only) if self.work.has_figures else None

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.work.model

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return self.work.criterion

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return self.work.optimizer()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        if not self.work.has_figures:
            return []
        from basetrainer.callbacks.losses_recorder import LossesRecorder
        from basetrainer.metric.accuracy_recorder import AccuracyRecorder

        return [LossesRecorder(), AccuracyRecorder(), ByStep(self.work, self.optimizer)]


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    # It unpacks a list as well as a tuple, but its recorder can read only the list.
    work.data.batches = [list(batch) for batch in work.data.batches]  # type: ignore[misc]
    cfg = SimpleNamespace(num_epochs=1, progress=work.has_figures, gpu_id=[0])
    Trainer(cfg, work).run()
    return work.model
