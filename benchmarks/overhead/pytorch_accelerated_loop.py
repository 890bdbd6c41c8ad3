"""The work with pytorch-accelerated: ``Trainer.train`` with its bar and its schedule by the step.

Accuracy and TensorBoard by the step are the user's there: a callback has them.
"""

from __future__ import annotations

from typing import Any

from pytorch_accelerated import Trainer
from pytorch_accelerated.callbacks import ProgressBarCallback, TrainerCallback
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.overhead.work import Work, only


class ByStep(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Figures by the step."""

    def __init__(self, work: Work) -> None:
        from benchmarks.overhead.figures import Figures

        self.figures = Figures(work)

    def on_train_step_end(
        self, trainer: Any, batch: Any, batch_output: Any, step: int = 0, **kwargs: Any
    ) -> None:
        loss, outputs = batch_output["loss"], batch_output["model_outputs"]
        lr = trainer.scheduler.get_last_lr()[0]
        self.figures.add(step, loss, outputs, batch[1], lr)

    def on_training_run_end(self, trainer: Any, **kwargs: Any) -> None:
        self.figures.writer.close()


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    schedule = None
    callbacks: list[Any] = []
    if work.has_figures:
        callbacks = [ProgressBarCallback(), ByStep(work)]

        def schedule(optimizer: Any) -> Any:
            return CosineAnnealingLR(optimizer, work.steps)

    trainer = Trainer(work.model, work.criterion, work.optimizer(), callbacks)
    trainer.train(
        work.data,
        num_epochs=1,
        per_device_batch_size=1,
        train_dataloader_kwargs={"shuffle": False, "num_workers": 0},
        collate_fn=only,
        create_scheduler_fn=schedule,
    )
    return work.model
