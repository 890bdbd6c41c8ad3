"""The work with Ignite: ``create_supervised_trainer``, its metrics, logger, bar and scheduler.

The metrics count every step and are read when they are logged, by a ``MetricUsage`` that says so,
which costs less than its running usages that read them every step. The bar is drawn as often. The
scheduler is attached as ``use_legacy`` asks, so that no learning rate is skipped.
"""

from __future__ import annotations

import warnings
from typing import Any

from ignite.engine import Events, create_supervised_trainer
from ignite.handlers import LRScheduler, ProgressBar, TensorboardLogger
from ignite.metrics import Accuracy, Average
from ignite.metrics.metric import MetricUsage
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.overhead.work import LOG_EVERY, Work


def everything(x: Tensor, y: Tensor, y_pred: Tensor, loss: Tensor) -> tuple[Tensor, ...]:
    """Return what the metrics ask for."""
    return y_pred, y, loss.detach()


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    optimizer = work.optimizer()
    parts = (work.model, optimizer, work.criterion)
    if not work.has_figures:
        bare: Any = create_supervised_trainer(*parts, output_transform=lambda x, y, out, loss: None)
        bare.run(work.loader(), max_epochs=1)
        return work.model

    trainer: Any = create_supervised_trainer(*parts, output_transform=everything)
    now = Events.ITERATION_COMPLETED(every=LOG_EVERY)
    usage = MetricUsage(
        started=Events.EPOCH_STARTED, completed=now, iteration_completed=Events.ITERATION_COMPLETED
    )
    Average(output_transform=lambda out: out[2]).attach(trainer, "loss", usage)
    Accuracy(output_transform=lambda out: out[:2]).attach(trainer, "accuracy", usage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asks for what is done here
        scheduler = LRScheduler(CosineAnnealingLR(optimizer, work.steps), use_legacy=True)
    names = ["loss", "accuracy"]
    with TensorboardLogger(log_dir=str(work.folder)) as logger:
        logger.attach_output_handler(trainer, now, tag="train", metric_names=names)
        logger.attach_opt_params_handler(trainer, now, optimizer=optimizer)
        ProgressBar(persist=False).attach(trainer, names, event_name=now)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, scheduler)
        trainer.run(work.loader(), max_epochs=1)
    return work.model
