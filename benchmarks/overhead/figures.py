"""Running means and TensorBoard for peers that leave them to the user, as the raw loop has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from benchmarks.overhead.work import LOG_EVERY, Work


class Figures:
    """Loss and accuracy so far, written every so many steps."""

    def __init__(self, work: Work) -> None:
        self.writer: Any = SummaryWriter(str(work.folder))
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.hits = torch.zeros((), dtype=torch.int64)
        self.seen = 0

    @torch.no_grad()
    def add(self, step: int, loss: Tensor, outputs: Tensor, labels: Tensor, lr: float) -> None:
        """Count one step, and write where it is time to."""
        self.loss_sum += loss.detach() * len(labels)
        self.hits += (outputs.argmax(1) == labels).sum()
        self.seen += len(labels)
        if (step + 1) % LOG_EVERY == 0:
            self.write(step, self.loss_sum.item() / self.seen, self.accuracy(), lr)

    def accuracy(self) -> float:
        """Return the top-1 accuracy so far, in percent."""
        return 100 * self.hits.item() / self.seen

    def write(self, step: int, loss: float, accuracy: float, lr: float) -> None:
        """Write one point of each curve."""
        self.writer.add_scalar("loss", loss, step)
        self.writer.add_scalar("accuracy", accuracy, step)
        self.writer.add_scalar("lr", lr, step)
