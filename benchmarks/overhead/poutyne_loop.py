"""The work with Poutyne: ``Model.fit_generator`` with its loss, its batch metric and its bar.

Its schedulers and its TensorBoard logger work by the epoch: a callback steps torch's schedule and
writes the figures of the step. The bar is asked to draw no more often than that.
"""

from __future__ import annotations

from typing import Any

from poutyne import Callback, Model
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.overhead.work import LOG_EVERY, Work


class ByStep(Callback):
    """Schedule and TensorBoard by the step."""

    def __init__(self, work: Work, optimizer: Any) -> None:
        super().__init__()
        from benchmarks.overhead.figures import Figures

        self.figures = Figures(work)
        self.scheduler = CosineAnnealingLR(optimizer, work.steps)

    def on_train_batch_end(self, batch_number: int, logs: dict[str, Any]) -> None:
        if batch_number % LOG_EVERY == 0:
            lr = self.scheduler.get_last_lr()[0]
            self.figures.write(batch_number, logs["loss"], logs["acc"], lr)
        self.scheduler.step()

    def on_train_end(self, logs: dict[str, Any]) -> None:
        self.figures.writer.close()


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    optimizer = work.optimizer()
    metrics = ["accuracy"] if work.has_figures else []
    model = Model(work.model, optimizer, work.criterion, batch_metrics=metrics)
    model.fit_generator(
        work.loader(),
        epochs=1,
        verbose=work.has_figures,
        progress_options={"show_every_n_train_steps": LOG_EVERY},
        callbacks=[ByStep(work, optimizer)] if work.has_figures else [],
    )
    return work.model
