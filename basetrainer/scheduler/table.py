"""The schedules by name: functions from a run and their own arguments to a schedule.

Those of basetrainer 0.9 to 1.0 are constant within an epoch, in their formulas e is the epoch, E
the epochs of the run and W those of the warm-up; the others change with every update. The warm-up
is not in them: :class:`~basetrainer.scheduler.scheduler.LRScheduler` puts it in front.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch.optim import Optimizer

from basetrainer.config.values import as_float
from basetrainer.errors import ConfigError
from basetrainer.scheduler import checks, schedules
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.schedules import WARM_UP_START, Schedule, by_epoch, delayed, lowest

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """What a schedule is computed from.

    Raises:
        ConfigError: If a number is out of range.
    """

    epochs: int
    num_warn_up: float
    """Epochs of warm-up; a schedule that has one of its own sets it to 0."""
    lr_init: float

    def __post_init__(self) -> None:
        self.epochs, self.num_warn_up = checks.span(self.epochs, self.num_warn_up)
        self.lr_init = as_float("lr_init", self.lr_init, above=0)

    @property
    def epochs_left(self) -> float:
        """The epochs after the warm-up."""
        return self.epochs - self.num_warn_up

    def end(self, lr_min: float) -> float:
        """Return the lowest learning rate as a factor."""
        return lowest(lr_min, self.lr_init)

    def then(self, schedule: Schedule) -> Schedule:
        """Let a schedule begin where the warm-up ends."""
        return delayed(schedule, self.num_warn_up)


Plan: TypeAlias = Callable[..., Schedule]
"""Takes a :class:`Run`, and by keyword what is its own."""


def multi_step(run: Run, *, milestones: Sequence[float], gamma: float = 0.1) -> Schedule:
    """``lr_init * gamma ** (number of milestones <= e)``."""
    schedule = by_epoch(schedules.multi_step(milestones, gamma))
    ordered = checks.milestones(milestones)
    if late := [f"{epoch:g}" for epoch in ordered if epoch > run.epochs - 1]:
        logger.warning(
            "milestones=%s: %s will not be reached in num_epochs=%d, whose last epoch is %d "
            "(milestones count epochs from 0). Lower them or raise num_epochs.",
            ordered,
            ", ".join(late),
            run.epochs,
            run.epochs - 1,
        )
    return schedule


def cosine(run: Run, *, num_cycles: int = 1, decay: float = 0.99, lr_min: float = 1e-5) -> Schedule:
    """``lr_min + (lr_init - lr_min) * (1 + cos(pi * (e - W) / (E - W - 1))) / 2``."""
    length, end = run.epochs_left - 1, run.end(lr_min)
    wave = schedules.cosine(length, end=end, num_cycles=num_cycles, decay=decay)
    return by_epoch(run.then(wave))


def cosine_annealing(run: Run, *, lr_min: float = 1e-6) -> Schedule:
    """``lr_min + (lr_init - lr_min) * (1 + cos(pi * (e - W) / (E - W))) / 2``."""
    return by_epoch(run.then(schedules.cosine(run.epochs_left, end=run.end(lr_min))))


def exponential(run: Run, *, decay: float = 0.9) -> Schedule:
    """``lr_init * decay ** (50 * (e - W) / (E - W))``."""
    return by_epoch(run.then(schedules.exponential(run.epochs_left, decay=decay)))


def lambda_lr(run: Run, *, linear_lr: bool = False, lrf: float = 0.2) -> Schedule:
    """``lr_init * (lrf + (1 - lrf) * (1 + cos(pi * e / E)) / 2)``, also during the warm-up."""
    end = as_float("lrf", lrf, minimum=0, maximum=1)
    if linear_lr:
        return by_epoch(schedules.linear(run.epochs - 1, end=end))
    return by_epoch(schedules.cosine(run.epochs, end=end))


def constant(run: Run) -> Schedule:
    """Stay at ``lr_init`` after the warm-up."""
    return schedules.constant()


def linear(run: Run, *, lr_min: float = 0.0) -> Schedule:
    """Fall along a straight line from the end of the warm-up to ``lr_min``."""
    return run.then(schedules.linear(run.epochs_left, end=run.end(lr_min)))


def poly(run: Run, *, lr_min: float = 0.0, power: float = 0.9) -> Schedule:
    """Fall as a power of the remaining time, from the end of the warm-up to ``lr_min``."""
    return run.then(schedules.poly(run.epochs_left, end=run.end(lr_min), power=power))


def cosine_step(run: Run, *, lr_min: float = 0.0) -> Schedule:
    """Fall along a cosine from the end of the warm-up to ``lr_min``, a little with every update."""
    return cosine_restarts(run, lr_min=lr_min)


def cosine_restarts(
    run: Run,
    *,
    num_cycles: int = 1,
    decay: float = 1.0,
    cycle_mult: float = 1.0,
    lr_min: float = 0.0,
) -> Schedule:
    """Fall along a cosine to ``lr_min`` ``num_cycles`` times, starting lower by ``decay`` each."""
    wave = schedules.cosine_restarts(
        run.epochs_left,
        end=run.end(lr_min),
        num_cycles=num_cycles,
        decay=decay,
        cycle_mult=cycle_mult,
    )
    return run.then(wave)


def one_cycle(
    run: Run,
    *,
    pct_start: float | None = None,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Rise to ``lr_init`` over ``num_warn_up`` epochs, or ``pct_start`` of all, and fall again.

    The rise takes the place of the warm-up; without either it is 0.3 of the run.
    """
    rise, run.num_warn_up = run.num_warn_up, 0
    if pct_start is not None and rise > 0:
        raise ConfigError(
            f"one_cycle got num_warn_up={rise:g} and pct_start={pct_start}, which both say "
            f"how long it rises. Give only one of them."
        )
    if pct_start is None:
        pct_start = rise / run.epochs if rise > 0 else 0.3
    return schedules.one_cycle(
        run.epochs, pct_start=pct_start, div_factor=div_factor, final_div_factor=final_div_factor
    )


def planned(
    plan: Plan, epochs: int, lr_init: float, num_warn_up: float, **own: Any
) -> dict[str, Any]:
    """Return what :class:`LRScheduler` takes for a plan, by keyword.

    Args:
        plan: One of the functions above.
        epochs: Of the run.
        lr_init: The learning rate to start with.
        num_warn_up: Epochs of linear warm-up.
        **own: The plan's own arguments.
    """
    run = Run(epochs, num_warn_up, lr_init)
    schedule = plan(run, **own)
    return {
        "schedule": schedule,
        "lr_init": run.lr_init,
        "num_epochs": run.epochs,
        "num_warn_up": run.num_warn_up,
    }


def scheduler_of(
    plan: Plan,
    *,
    optimizer: Optimizer,
    epochs: int,
    num_steps: int,
    lr_init: float,
    num_warn_up: float = 0,
    warm_up_start: float = WARM_UP_START,
    **own: Any,
) -> LRScheduler:
    """Return the callback that applies a plan."""
    arguments = planned(plan, epochs, lr_init, num_warn_up, **own)
    return LRScheduler(optimizer, num_steps=num_steps, warm_up_start=warm_up_start, **arguments)
