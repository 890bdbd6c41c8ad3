"""The lengths that a schedule is given: a run, its warm-up, its milestones."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from basetrainer.config.checks import as_epochs
from basetrainer.config.values import as_float, as_int, refusal

logger = logging.getLogger(__name__)


def span(num_epochs: Any, num_warn_up: Any) -> tuple[int, float]:
    """Return the lengths of a run and of its warm-up, in epochs, or raise ConfigError.

    A warm-up may be a part of an epoch. One that is longer than the run is cut to it, with a
    warning: a quick look of one epoch must not need another configuration.
    """
    epochs = as_int("num_epochs", num_epochs, minimum=1)
    warm_up = as_float("num_warn_up", num_warn_up, minimum=0)
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
        fix = "Write one, such as [30, 60], or [] for a constant learning rate."
        raise refusal("milestones", given, "is not a list of epochs", "", fix)
    return sorted(as_epochs("milestones", epoch, example="[30, 60]") for epoch in given)
