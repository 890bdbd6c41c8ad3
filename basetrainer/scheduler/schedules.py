"""Schedules: pure functions from the time, in epochs, to a factor of the learning rate.

The time is ``epoch + update / updates_per_epoch``: 2.5 is the middle of the third epoch. Schedules
are composed by plain calls: ``warmed_up(delayed(linear(27), 3), 3)`` is a run of 30 epochs whose
first three warm up. None rises above 1 or becomes negative; all but ``one_cycle`` start at 1.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from basetrainer.config.values import as_float, as_int
from basetrainer.errors import ConfigError
from basetrainer.scheduler import checks

logger = logging.getLogger(__name__)

Schedule: TypeAlias = Callable[[float], float]
"""From the time in epochs to a factor of the learning rate."""

WARM_UP_START = 0.1
"""Where a warm-up starts, as a factor: what the one old schedule whose warm-up was right,
``CosineAnnealingLR``, used. Its .01, .04, .07 in three epochs of warm-up to .1 still hold."""


def constant() -> Schedule:
    """Stay at 1."""
    return lambda t: 1.0


def multi_step(milestones: Sequence[float], gamma: float = 0.1) -> Schedule:
    """Multiply by ``gamma`` at each milestone: ``gamma ** (number of milestones <= t)``.

    Args:
        milestones: Epochs, in any order; none is a constant. One named twice counts twice, as in
            ``torch.optim.lr_scheduler.MultiStepLR``.
        gamma: The factor of each, above 0 and at most 1.
    """
    ordered = checks.milestones(milestones)
    gamma = as_float("gamma", gamma, above=0.0, maximum=1.0)
    return lambda t: gamma ** bisect.bisect_right(ordered, t)


def cosine(
    num_epochs: float, *, end: float = 0.0, num_cycles: int = 1, decay: float = 1.0
) -> Schedule:
    """Follow a cosine from 1 to ``end``, ``num_cycles - 1`` times up and down on the way.

    With ``p = t / num_epochs``: ``end + (1 - end) * (1 + cos(pi * (2 * num_cycles - 1) * p)) / 2``,
    times ``decay ** ((num_cycles - 0.5) * p)``.

    Args:
        num_epochs: Length of the whole, in epochs.
        end: The lowest factor.
        num_cycles: Times that the lowest factor is reached.
        decay: What a full up-and-down multiplies the factor by.
    """
    end = as_float("end", end, minimum=0.0, maximum=1.0)
    num_cycles = as_int("num_cycles", num_cycles, minimum=1)
    decay = as_float("decay", decay, above=0.0, maximum=1.0)

    def factor(t: float) -> float:
        p = _progress(t, num_epochs)
        wave = (1.0 + math.cos(math.pi * (2 * num_cycles - 1) * p)) / 2.0
        return (end + (1.0 - end) * wave) * float(decay ** ((num_cycles - 0.5) * p))

    return factor


def cosine_restarts(
    num_epochs: float,
    *,
    end: float = 0.0,
    num_cycles: int = 1,
    decay: float = 1.0,
    cycle_mult: float = 1.0,
) -> Schedule:
    """Follow a cosine from 1 to ``end``, then start again at ``decay``, and so on.

    SGDR, https://arxiv.org/abs/1608.03983. One cycle is the plain cosine.

    Args:
        num_epochs: Length of all cycles together, in epochs.
        end: The lowest factor of each cycle, as a part of its highest.
        num_cycles: Number of cycles.
        decay: Highest factor of a cycle over that of the cycle before.
        cycle_mult: Length of a cycle over that of the cycle before.
    """
    end = as_float("end", end, minimum=0.0, maximum=1.0)
    num_cycles = as_int("num_cycles", num_cycles, minimum=1)
    decay = as_float("decay", decay, above=0.0, maximum=1.0)
    cycle_mult = as_float("cycle_mult", cycle_mult, above=0.0)
    try:
        parts = [cycle_mult**cycle for cycle in range(num_cycles)]
    except OverflowError:
        raise ConfigError(
            f"num_cycles={num_cycles} cycles, each cycle_mult={cycle_mult:g} times as long as the "
            f"one before, are too many. Lower one of them."
        ) from None
    lengths = [num_epochs * part / sum(parts) for part in parts]
    starts = [0.0, *itertools.accumulate(lengths[:-1])]

    def factor(t: float) -> float:
        # The margin keeps a restart that falls on an update from coming one update late.
        cycle = max(0, bisect.bisect_right(starts, t + 1e-9) - 1)
        p = _progress(t - starts[cycle], lengths[cycle])
        return float(decay**cycle) * (end + (1.0 - end) * (1.0 + math.cos(math.pi * p)) / 2.0)

    return factor


def exponential(num_epochs: float, *, decay: float = 0.95, exponent: float = 50.0) -> Schedule:
    """Fall exponentially: ``decay ** (exponent * t / num_epochs)``, so to ``decay ** exponent``."""
    decay = as_float("decay", decay, above=0.0, maximum=1.0)
    return lambda t: float(decay ** (exponent * _progress(t, num_epochs)))


def linear(num_epochs: float, *, end: float = 0.0) -> Schedule:
    """Fall along a straight line from 1 to ``end`` over ``num_epochs`` epochs."""
    return poly(num_epochs, end=end, power=1.0)


def poly(num_epochs: float, *, end: float = 0.0, power: float = 0.9) -> Schedule:
    """Fall as ``end + (1 - end) * (1 - t / num_epochs) ** power``."""
    end = as_float("end", end, minimum=0.0, maximum=1.0)
    power = as_float("power", power, above=0.0)
    return lambda t: end + (1.0 - end) * (1.0 - _progress(t, num_epochs)) ** power


def one_cycle(
    num_epochs: float,
    *,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Rise along half a cosine to 1, then fall along another far below the start.

    The 1cycle policy, https://arxiv.org/abs/1708.07120, with the names of torch's ``OneCycleLR``.

    Args:
        num_epochs: Length of the whole, in epochs.
        pct_start: Part of it that rises, from 0 to 1.
        div_factor: Highest factor over the first one.
        final_div_factor: First factor over the last one.
    """
    pct_start = as_float("pct_start", pct_start, minimum=0.0, maximum=1.0)
    first = 1.0 / as_float("div_factor", div_factor, minimum=1.0)
    last = first / as_float("final_div_factor", final_div_factor, minimum=1.0)
    rise = pct_start * num_epochs

    def factor(t: float) -> float:
        if t < rise:
            return _ease(first, 1.0, t / rise)
        return _ease(1.0, last, _progress(t - rise, num_epochs - rise))

    return factor


def delayed(schedule: Schedule, num_epochs: float) -> Schedule:
    """Let ``schedule`` begin after ``num_epochs`` epochs; until then it is at its start."""
    return lambda t: schedule(max(0.0, t - num_epochs))


def by_epoch(schedule: Schedule) -> Schedule:
    """Hold each epoch at the value that ``schedule`` has when the epoch begins."""
    return lambda t: schedule(float(math.floor(t)))


def warmed_up(schedule: Schedule, num_epochs: float, start: float = WARM_UP_START) -> Schedule:
    """Ramp linearly from ``start`` up to 1 times ``schedule`` over the first ``num_epochs`` epochs.

    Args:
        schedule: What is warmed up.
        num_epochs: Length of the ramp, in epochs; 0 is none.
        start: Factor at time 0. With 0 the first update of a run does nothing.
    """
    start = as_float("warm_up_start", start, minimum=0.0, maximum=1.0)
    if num_epochs <= 0:
        return schedule

    def factor(t: float) -> float:
        done = t / num_epochs
        return schedule(t) if done >= 1.0 else (start + (1.0 - start) * done) * schedule(t)

    return factor


def lowest(lr_min: float, lr_init: float) -> float:
    """Return the learning rate ``lr_min`` as a factor of ``lr_init``, and never above 1.

    Where it does not leave the learning rate room to fall, a warning says so.

    Raises:
        ConfigError: If ``lr_min`` is no number, or negative.
    """
    lr_min = as_float("lr_min", lr_min, minimum=0.0)
    if lr_min >= lr_init:
        logger.warning(
            "scheduler: lr_min=%g is not below the learning rate %g, which therefore never falls. "
            "Give a smaller lr_min, such as lr_min=%g, or min_lr_ratio, a share of the rate.",
            lr_min,
            lr_init,
            lr_init / 100,
        )
    return min(1.0, lr_min / lr_init)


def _progress(t: float, num_epochs: float) -> float:
    """Return which part of ``num_epochs`` is over, from 0 to 1, also if there is no epoch."""
    if num_epochs <= 0:
        return 0.0 if t <= 0 else 1.0
    return min(1.0, max(0.0, t / num_epochs))


def _ease(first: float, last: float, p: float) -> float:
    """Go from ``first`` to ``last`` along half a cosine."""
    return last + (first - last) * (1.0 + math.cos(math.pi * p)) / 2.0
