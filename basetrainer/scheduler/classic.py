"""The schedulers of basetrainer 0.9 to 1.0 under their old names and signatures.

Warm-up is right here from the first update on; after it the learning rates are the old ones,
constant within an epoch. In the formulas e is the epoch, E ``epochs`` and W ``num_warn_up``.
All share the arguments ``optimizer`` (whose learning rates are set), ``epochs`` (of the run),
``num_steps`` (batches per epoch of this process), ``lr_init`` (the learning rate to start with),
``num_warn_up`` (epochs of linear warm-up) and ``warm_up_start`` (factor of its first update).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TypedDict

from torch.optim import Optimizer

from basetrainer.config.values import as_float
from basetrainer.scheduler import checks
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.schedules import (
    WARM_UP_START,
    by_epoch,
    constant,
    cosine,
    delayed,
    exponential,
    linear,
    lowest,
    multi_step,
)

logger = logging.getLogger(__name__)


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
        run = _checked(epochs, num_steps, lr_init, num_warn_up, warm_up_start)
        super().__init__(optimizer, by_epoch(multi_step(milestones, gamma)), **run)
        _warn_of_late(checks.milestones(milestones), run["num_epochs"])


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
        run = _checked(epochs, num_steps, lr_init, num_warn_up, warm_up_start)
        length = run["num_epochs"] - run["num_warn_up"] - 1
        end = lowest(lr_min, run["lr_init"])
        wave = cosine(length, end=end, num_cycles=num_cycles, decay=decay)
        super().__init__(optimizer, by_epoch(delayed(wave, num_warn_up)), **run)


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
        run = _checked(epochs, num_steps, lr_init, num_warn_up, warm_up_start)
        wave = cosine(run["num_epochs"] - run["num_warn_up"], end=lowest(lr_min, run["lr_init"]))
        super().__init__(optimizer, by_epoch(delayed(wave, num_warn_up)), **run)


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
        run = _checked(epochs, num_steps, lr_init, num_warn_up, warm_up_start)
        fall = exponential(run["num_epochs"] - run["num_warn_up"], decay=decay)
        super().__init__(optimizer, by_epoch(delayed(fall, num_warn_up)), **run)


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
        run = _checked(epochs, num_steps, lr_init, num_warn_up, warm_up_start)
        lrf = as_float("lrf", lrf, minimum=0.0, maximum=1.0)
        length = run["num_epochs"]
        fall = linear(length - 1, end=lrf) if linear_lr else cosine(length, end=lrf)
        super().__init__(optimizer, by_epoch(fall), **run)


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


class _Run(TypedDict):
    """What all schedulers hand to :class:`LRScheduler`."""

    num_epochs: int
    num_steps: int
    lr_init: float
    num_warn_up: float
    warm_up_start: float


def _checked(
    epochs: int, num_steps: int, lr_init: float, num_warn_up: float, warm_up_start: float
) -> _Run:
    """Check what a schedule's length is computed from, before it is."""
    epochs, num_warn_up = checks.span(epochs, num_warn_up)
    return {
        "num_epochs": epochs,
        "num_steps": num_steps,
        "lr_init": as_float("lr_init", lr_init, above=0.0),
        "num_warn_up": num_warn_up,
        "warm_up_start": warm_up_start,
    }


def _warn_of_late(milestones: list[float], num_epochs: int) -> None:
    late = [epoch for epoch in milestones if epoch > num_epochs - 1]
    if late:
        logger.warning(
            "milestones=%s: %s will not be reached in num_epochs=%d, whose last epoch is %d "
            "(milestones count epochs from 0). "
            "Lower them or raise num_epochs.",
            milestones,
            ", ".join(f"{epoch:g}" for epoch in late),
            num_epochs,
            num_epochs - 1,
        )
