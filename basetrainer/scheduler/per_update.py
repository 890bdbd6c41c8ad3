"""The schedulers whose learning rate changes with every update, ready for an optimizer.

All share the arguments ``optimizer`` (whose learning rates are set), ``epochs`` (of the run),
``num_steps`` (batches per epoch of this process), ``lr_init`` (the highest learning rate),
``num_warn_up`` (epochs of linear warm-up) and ``warm_up_start`` (factor of its first update).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from basetrainer.config.values import as_float
from basetrainer.errors import ConfigError
from basetrainer.scheduler import checks, schedules
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.schedules import WARM_UP_START, Schedule, delayed, lowest


def constant(**shared: Any) -> LRScheduler:
    """Stay at ``lr_init`` after the warm-up."""
    return _after_warm_up(lambda length, end: schedules.constant(), 0.0, **shared)


def linear(*, lr_min: float = 0.0, **shared: Any) -> LRScheduler:
    """Fall along a straight line from the end of the warm-up to ``lr_min``."""
    return _after_warm_up(lambda length, end: schedules.linear(length, end=end), lr_min, **shared)


def poly(*, lr_min: float = 0.0, power: float = 0.9, **shared: Any) -> LRScheduler:
    """Fall as a power of the remaining time, from the end of the warm-up to ``lr_min``."""
    return _after_warm_up(
        lambda length, end: schedules.poly(length, end=end, power=power), lr_min, **shared
    )


def cosine_restarts(
    *,
    lr_min: float = 0.0,
    num_cycles: int = 1,
    decay: float = 1.0,
    cycle_mult: float = 1.0,
    **shared: Any,
) -> LRScheduler:
    """Fall along a cosine to ``lr_min`` ``num_cycles`` times, starting lower by ``decay`` each."""

    def fall(length: float, end: float) -> Schedule:
        return schedules.cosine_restarts(
            length, end=end, num_cycles=num_cycles, decay=decay, cycle_mult=cycle_mult
        )

    return _after_warm_up(fall, lr_min, **shared)


def one_cycle(
    *,
    pct_start: float | None = None,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    epochs: int,
    num_warn_up: float = 0,
    **shared: Any,
) -> LRScheduler:
    """Rise to ``lr_init`` over ``num_warn_up`` epochs, or ``pct_start`` of all, and fall again.

    The rise takes the place of the warm-up; without either it is 0.3 of the run.
    """
    epochs, num_warn_up = checks.span(epochs, num_warn_up)
    if pct_start is not None and num_warn_up > 0:
        raise ConfigError(
            f"one_cycle got num_warn_up={num_warn_up:g} and pct_start={pct_start}, which both say "
            f"how long it rises. Give only one of them."
        )
    if pct_start is None:
        pct_start = num_warn_up / epochs if num_warn_up > 0 else 0.3
    cycle = schedules.one_cycle(
        epochs, pct_start=pct_start, div_factor=div_factor, final_div_factor=final_div_factor
    )
    return LRScheduler(schedule=cycle, num_epochs=epochs, **shared)


def _after_warm_up(
    make: Callable[[float, float], Schedule],
    lr_min: float,
    *,
    optimizer: Optimizer,
    epochs: int,
    num_steps: int,
    lr_init: float,
    num_warn_up: float = 0,
    warm_up_start: float = WARM_UP_START,
) -> LRScheduler:
    """Let ``make(epochs left, lowest factor)`` begin where the warm-up ends."""
    epochs, num_warn_up = checks.span(epochs, num_warn_up)
    end = lowest(lr_min, as_float("lr_init", lr_init, above=0.0))
    return LRScheduler(
        optimizer,
        delayed(make(epochs - num_warn_up, end), num_warn_up),
        lr_init=lr_init,
        num_steps=num_steps,
        num_epochs=epochs,
        num_warn_up=num_warn_up,
        warm_up_start=warm_up_start,
    )
