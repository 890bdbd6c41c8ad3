"""The schedulers of basetrainer 0.9 to 1.0 under their old names and signatures.

Warm-up is right here from the first update on; after it the learning rates are the old ones,
constant within an epoch. In the formulas e is the epoch, E ``epochs`` and W ``num_warn_up``.
All share the arguments ``optimizer`` (whose learning rates are set), ``epochs`` (of the run),
``num_steps`` (batches per epoch of this process), ``lr_init`` (the learning rate to start with),
``num_warn_up`` (epochs of linear warm-up) and ``warm_up_start`` (factor of its first update).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from basetrainer.scheduler import table
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.schedules import WARM_UP_START, constant
from basetrainer.scheduler.table import planned


class MultiStepLR(LRScheduler):
    """``lr_init * gamma ** (number of milestones <= e)``.

    Args:
        milestones: Epochs at which the learning rate falls, in any order; left as they are.
        gamma: The factor at each milestone.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        num_steps: int,
        milestones: Sequence[float],
        lr_init: float = 0.01,
        num_warn_up: float = 0,
        gamma: float = 0.1,
        *,
        warm_up_start: float = WARM_UP_START,
    ) -> None:
        own: dict[str, Any] = {"milestones": milestones, "gamma": gamma}
        plan = planned(table.multi_step, epochs, lr_init, num_warn_up, **own)
        super().__init__(optimizer, num_steps=num_steps, warm_up_start=warm_up_start, **plan)


class CosineLR(LRScheduler):
    """``lr_min + (lr_init - lr_min) * (1 + cos(pi * (e - W) / (E - W - 1))) / 2`` after warm-up.

    Args:
        num_cycles: Times that ``lr_min`` is reached, rising along the cosine in between.
        decay: What a full up-and-down multiplies the learning rate by.
        lr_min: The lowest learning rate, before ``decay``; the last epoch trains at it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        num_steps: int,
        num_cycles: int = 1,
        lr_init: float = 0.1,
        decay: float = 0.99,
        num_warn_up: float = 10,
        *,
        warm_up_start: float = WARM_UP_START,
        lr_min: float = 1e-5,
    ) -> None:
        own: dict[str, Any] = {"num_cycles": num_cycles, "decay": decay, "lr_min": lr_min}
        plan = planned(table.cosine, epochs, lr_init, num_warn_up, **own)
        super().__init__(optimizer, num_steps=num_steps, warm_up_start=warm_up_start, **plan)


class CosineAnnealingLR(LRScheduler):
    """``lr_min + (lr_init - lr_min) * (1 + cos(pi * (e - W) / (E - W))) / 2`` after warm-up.

    Args:
        num_cycles: Has no effect and never had; see :class:`CosineLR` and ``cosine_restarts``.
        decay: Has no effect and never had.
        lr_min: The lowest learning rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        num_steps: int,
        num_cycles: int = 1,
        lr_init: float = 0.1,
        decay: float = 0.99,
        num_warn_up: float = 10,
        *,
        warm_up_start: float = WARM_UP_START,
        lr_min: float = 1e-6,
    ) -> None:
        plan = planned(table.cosine_annealing, epochs, lr_init, num_warn_up, lr_min=lr_min)
        super().__init__(optimizer, num_steps=num_steps, warm_up_start=warm_up_start, **plan)


class ExponentialLR(LRScheduler):
    """``lr_init * decay ** (50 * (e - W) / (E - W))`` after warm-up.

    Args:
        decay: The factor of a fiftieth of the run.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        num_steps: int,
        lr_init: float = 0.01,
        num_warn_up: float = 0,
        decay: float = 0.90,
        *,
        warm_up_start: float = WARM_UP_START,
    ) -> None:
        plan = planned(table.exponential, epochs, lr_init, num_warn_up, decay=decay)
        super().__init__(optimizer, num_steps=num_steps, warm_up_start=warm_up_start, **plan)


class LambdaLR(LRScheduler):
    """``lr_init * (lrf + (1 - lrf) * (1 + cos(pi * e / E)) / 2)``, times the warm-up's ramp.

    Args:
        linear_lr: A straight line, at ``lrf`` in the last epoch, instead of the cosine.
        lrf: The last learning rate over the first one.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        num_steps: int,
        linear_lr: bool = False,
        lr_init: float = 0.1,
        lrf: float = 0.2,
        num_warn_up: float = 0,
        *,
        warm_up_start: float = WARM_UP_START,
    ) -> None:
        own: dict[str, Any] = {"linear_lr": linear_lr, "lrf": lrf}
        plan = planned(table.lambda_lr, epochs, lr_init, num_warn_up, **own)
        super().__init__(optimizer, num_steps=num_steps, warm_up_start=warm_up_start, **plan)


class WarmUpLR(LRScheduler):
    """A warm-up alone: afterwards the learning rate is left to others."""

    def __init__(
        self,
        optimizer: Optimizer,
        num_steps: int,
        lr_init: float = 0.01,
        num_warn_up: float = 0,
        *,
        warm_up_start: float = WARM_UP_START,
    ) -> None:
        super().__init__(
            optimizer,
            constant(),
            lr_init=lr_init,
            num_steps=num_steps,
            num_warn_up=num_warn_up,
            warm_up_start=warm_up_start,
        )

    def step(self, epoch: int = 0, step: int = 0) -> None:
        """Set the learning rate of batch ``step`` of ``epoch``, up to the end of the warm-up."""
        self._count_updates()
        update = epoch * self._updates + step // self._accumulate
        # The first update after the warm-up is its end; rounded, since 0.1 * 30 is a little over 3.
        end = math.ceil(round(self.num_warn_up * self._updates, 6))
        if self.num_warn_up > 0 and update <= end:
            super().step(epoch, step)
