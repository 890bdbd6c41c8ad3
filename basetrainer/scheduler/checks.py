"""Checks of what a schedule is given; each returns the value as the schedule uses it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


def whole(name: str, value: Any, minimum: int, why: str) -> int:
    """Return a whole number, or raise ConfigError.

    Args:
        name: The setting, for the message.
        value: What the user gave; ``3.0`` counts as 3, ``True`` and ``"3"`` as no number.
        minimum: The smallest value allowed.
        why: What the number means, for the message.
    """
    if not _is_number(value) or float(value) != math.floor(value):
        raise ConfigError(
            f"{name}={value!r} is not a whole number. It is {why}: write {minimum} or more."
        )
    if value < minimum:
        raise ConfigError(f"{name}={value!r} is too small. It is {why}: write {minimum} or more.")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    low: float = -math.inf,
    high: float = math.inf,
) -> float:
    """Return a finite number between ``low`` and ``high``, larger than ``above``, or raise."""
    if not _is_number(value):
        raise ConfigError(f"{name}={value!r} is not a finite number. Write one, such as 0.1.")
    if (above is not None and value <= above) or not low <= value <= high:
        bounds = [f"above {above:g}" if above is not None else f"at least {low:g}"]
        bounds += [f"at most {high:g}"] if high < math.inf else []
        raise ConfigError(f"{name}={value!r} is out of range: it must be {' and '.join(bounds)}.")
    return float(value)


def span(num_epochs: Any, num_warn_up: Any) -> tuple[int, float]:
    """Return the lengths of a run and of its warm-up, in epochs, or raise ConfigError.

    A warm-up may be a part of an epoch. One that is longer than the run is cut to it, with a
    warning: a quick look of one epoch must not need another configuration.
    """
    epochs = whole("num_epochs", num_epochs, 1, "the number of epochs to train")
    warm_up = number("num_warn_up", num_warn_up, low=0.0)
    if warm_up > epochs:
        logger.warning(
            "num_warn_up=%g epochs of warm-up are longer than the run of num_epochs=%d: the "
            "warm-up is cut to %d",
            warm_up,
            epochs,
            epochs,
        )
    return epochs, min(warm_up, epochs)


def milestones(given: Any) -> list[float]:
    """Return milestones in order, in a new list, or raise ConfigError."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ConfigError(
            f"milestones={given!r} is not a list of epochs. Write one, such as [30, 60], or [] "
            f"for a constant learning rate."
        )
    listed = list(given)
    for epoch in listed:
        if not _is_number(epoch) or epoch < 0:
            raise ConfigError(
                f"milestones={listed!r}: {epoch!r} is no epoch. Write numbers from 0 on."
            )
    return sorted(listed)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
