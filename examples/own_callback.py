"""A callback of your own: the norm of the gradients, watched without slowing the steps.

python -m examples.own_callback
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

import basetrainer as bt
from basetrainer.utils import log
from examples.common import DigitTrainer

logger = logging.getLogger("basetrainer")


class GradientNorm(bt.Callback):
    """Writes the mean norm of each epoch's gradients to ``logs["train"]["grad_norm"]``.

    Three things make it a good citizen: the norms stay tensors until the epoch is over, so that no
    step waits for the device; what it has counted is in its state, so that a run that is ended in
    the middle of an epoch goes on exactly; and on several processes only one of them talks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total: Tensor | None = None
        self.steps = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.total, self.steps = None, 0

    def on_train_summary(
        self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
    ) -> None:
        # Gradients can still be read here: they are dropped before the next backward pass.
        assert self.model is not None  # noqa: S101 # for type checkers: set before the first step
        norm = torch.nn.utils.get_total_norm(
            [one.grad for one in self.model.parameters() if one.grad is not None]
        )
        self.total = norm if self.total is None else self.total + norm
        self.steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.total is None:
            return
        mean = float(self.total) / self.steps  # the one time that the host waits
        logs["train"]["grad_norm"] = mean
        if self.is_main_process:
            logger.info("epoch %d: mean norm of the gradients %.4f", epoch + 1, mean)

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total, self.steps = state["total"], state["steps"]


def main(num_epochs: int = 3) -> Any:
    """Train, and return the logs."""
    log.set_logger(level="info")
    return DigitTrainer({"num_epochs": num_epochs}, (GradientNorm(),)).run()


if __name__ == "__main__":
    main()
