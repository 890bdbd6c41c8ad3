"""The work with the Trainer of transformers: its bar, logging, TensorBoard, and torch's schedule.

Accuracy while training is the user's there: ``compute_loss`` counts it, ``log`` adds it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.tensorboard import SummaryWriter
from transformers import Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback

from benchmarks.overhead.work import LOG_EVERY, Batch, Work


class Model(nn.Module):
    """The net with its loss."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.net = work.model
        self.criterion = work.criterion

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and the outputs."""
        outputs = self.net(images)
        return {"loss": self.criterion(outputs, labels), "logits": outputs}


class Full(Trainer):
    """Counts the hits."""

    hits = torch.zeros((), dtype=torch.int64)
    seen = 0

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Return the loss."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        with torch.no_grad():
            self.hits = self.hits + (outputs["logits"].argmax(1) == inputs["labels"]).sum()
        self.seen += len(inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the accuracy, too."""
        super().log({**logs, "accuracy": 100 * self.hits.item() / self.seen}, *args, **kwargs)


def named(batches: list[Batch]) -> dict[str, Tensor]:
    """Hand a ready-made batch out, under the names of the model's arguments."""
    images, labels = batches[0]
    return {"images": images, "labels": labels}


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    optimizer, full = work.optimizer(), work.has_figures
    arguments = TrainingArguments(
        output_dir=str(work.folder),
        per_device_train_batch_size=1,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        save_strategy="no",
        logging_strategy="steps" if full else "no",
        logging_steps=LOG_EVERY,
        report_to="none",  # the callback below is given its folder
        disable_tqdm=not full,
        use_cpu=True,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    writer: Any = SummaryWriter(str(work.folder)) if full else None
    kind = Full if full else Trainer
    trainer = kind(
        Model(work),
        arguments,
        data_collator=named,
        train_dataset=work.data,
        callbacks=[TensorBoardCallback(writer)] if full else None,
        optimizers=(optimizer, CosineAnnealingLR(optimizer, work.steps) if full else None),
    )
    trainer.train()
    return work.model
