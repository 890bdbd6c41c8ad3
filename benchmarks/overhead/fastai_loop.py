"""The work with fastai: ``Learner.fit`` with ``Recorder(train_metrics=True)``, its bar and schedule.

Its TensorBoard callback writes every step: one of three lines writes every so many.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import ParamScheduler, SchedCos
from fastai.data.core import DataLoaders
from fastai.learner import Learner, Recorder, TrainEvalCallback
from fastai.metrics import accuracy
from fastai.optimizer import OptimWrapper
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.overhead.work import LOG_EVERY, LR, MOMENTUM, Work


class ByStep(Callback):
    """TensorBoard every so many steps."""

    order = Recorder.order + 1

    def __init__(self, work: Work) -> None:
        from benchmarks.overhead.figures import Figures

        self.figures = Figures(work)

    def after_batch(self) -> None:
        """Write loss, accuracy and learning rate."""
        if (step := self.iter + 1) % LOG_EVERY == 0 and self.training:
            loss, hits = self.smooth_loss.item(), self.recorder.metrics[0].value
            self.figures.write(step, loss, float(hits), self.opt.hypers[-1]["lr"])

    def after_fit(self) -> None:
        """Close the file."""
        self.figures.writer.close()


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    callbacks: list[Any] = [TrainEvalCallback()]
    if work.has_figures:
        callbacks += [
            Recorder(train_metrics=True, valid_metrics=False),
            ProgressCallback(),
            ParamScheduler({"lr": SchedCos(LR, 0.0)}),
            ByStep(work),
        ]
    nothing: list[Any] = []
    learner = Learner(
        DataLoaders(work.loader(), DataLoader(nothing)),
        work.model,
        loss_func=work.criterion,
        opt_func=partial(OptimWrapper, opt=torch.optim.SGD, momentum=MOMENTUM),
        lr=LR,
        metrics=[accuracy] if work.has_figures else [],
        default_cbs=False,
        cbs=callbacks,
        path=work.folder,
    )
    learner.fit(1)
    return work.model
