"""The work with skorch: ``NeuralNetClassifier.fit``, its scoring, bar and scheduler by the batch.

Its TensorBoard callback writes by the epoch: one of three lines writes the figures of the step.
"""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import BatchScoring, Callback, LRScheduler, PassthroughScoring, ProgressBar
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.overhead.work import LOG_EVERY, LR, MOMENTUM, Work


class ByStep(Callback):
    """TensorBoard by the step."""

    def __init__(self, work: Work) -> None:
        from benchmarks.overhead.figures import Figures

        self.figures = Figures(work)

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        row = net.history[-1]["batches"][-1]
        if (step := len(net.history[-1]["batches"])) % LOG_EVERY == 0:
            self.figures.write(step, row["train_loss"], row["accuracy"], row["event_lr"])

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        self.figures.writer.close()


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    callbacks: list[Any] = []
    if work.has_figures:
        callbacks = [
            PassthroughScoring("train_loss", on_train=True),
            BatchScoring("accuracy", name="accuracy", on_train=True),
            LRScheduler(CosineAnnealingLR, step_every="batch", T_max=work.steps),
            ByStep(work),
            ProgressBar(batches_per_epoch=work.steps, postfix_keys=["train_loss", "accuracy"]),
        ]
    net = _Net(
        work.model,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=LR,
        optimizer__momentum=MOMENTUM,
        max_epochs=1,
        batch_size=None,
        train_split=None,
        callbacks=callbacks,
        classes=list(range(10)),
        verbose=0,
    )
    net.fit(work.data, y=None)
    return work.model


class _Net(NeuralNetClassifier):
    """Without the callbacks that are there by default: they print and score what is not asked for."""

    @property
    def _default_callbacks(self) -> list[Any]:
        return []
