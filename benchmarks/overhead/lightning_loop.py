"""The work with Lightning: ``barebones=True``, or ``self.log``, its bar, logger and lr monitor.

The bar is asked to draw no more often than the points are logged.
"""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import LearningRateMonitor, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.overhead.work import BATCH, LOG_EVERY, Batch, Work


class Bare(lightning.LightningModule):
    """The net, its loss and its optimizer."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.net = work.model

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss: Tensor = self.work.criterion(self.net(images), labels)
        return loss

    def configure_optimizers(self) -> Any:
        return self.work.optimizer()


class Full(Bare):
    """The same with its figures and its schedule."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        outputs = self.net(images)
        loss: Tensor = self.work.criterion(outputs, labels)
        accuracy = (outputs.argmax(1) == labels).float().mean()
        figures = {"loss": loss, "accuracy": accuracy}
        self.log_dict(figures, on_step=True, on_epoch=True, batch_size=BATCH)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = self.work.optimizer()
        scheduler = CosineAnnealingLR(optimizer, self.work.steps)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 1}
    if work.has_figures:
        options |= {
            "logger": TensorBoardLogger(work.folder),
            "callbacks": [TQDMProgressBar(refresh_rate=LOG_EVERY), LearningRateMonitor("step")],
            "log_every_n_steps": LOG_EVERY,
            "enable_checkpointing": False,
            "enable_model_summary": False,
        }
    else:
        options["barebones"] = True
    module = Full(work) if work.has_figures else Bare(work)
    lightning.Trainer(**options).fit(module, work.loader())
    return work.model
