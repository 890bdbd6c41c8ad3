"""Warm-up and floor under their other names: in epochs or updates, absolute or relative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from basetrainer.config.values import as_float, as_int
from basetrainer.errors import ConfigError
from basetrainer.scheduler.scheduler import LRScheduler


def settle_names(given: dict[str, Any], lr_init: float) -> int | None:
    """Replace ``num_warm_up`` and ``min_lr_ratio`` by the old names; take warm-up updates out.

    Args:
        given: The arguments, changed in place.
        lr_init: The learning rate at its highest.

    Returns:
        Updates of warm-up; None if it was not given in updates.

    Raises:
        ConfigError: If two names say the same, or a number is out of range.
    """
    warm_ups = [one for one in ("num_warm_up", "num_warn_up", "warm_up_updates") if one in given]
    if "warm_up_updates" in warm_ups and all(given[one] == 0 for one in warm_ups[:-1]):
        del warm_ups[:-1]  # a config's default of no epochs gives way
    if len(warm_ups) > 1:
        raise ConfigError(
            f"{' and '.join(warm_ups)} both say how long the warm-up is. Give only one of them."
        )
    if "num_warm_up" in given:
        given["num_warn_up"] = as_float("num_warm_up", given.pop("num_warm_up"), minimum=0)
    if "min_lr_ratio" in given:
        if "lr_min" in given:
            raise ConfigError(
                "lr_min and min_lr_ratio both say how low the learning rate falls. Give only one "
                "of them."
            )
        ratio = as_float("min_lr_ratio", given.pop("min_lr_ratio"), minimum=0, maximum=1)
        given["lr_min"] = ratio * as_float("lr_init", lr_init, above=0)
    if "warm_up_updates" not in given:
        return None
    given.pop("num_warn_up", None)
    return as_int("warm_up_updates", given.pop("warm_up_updates"), minimum=0)


def warmed_up_by_updates(
    make: Callable[[float], LRScheduler], updates: int, num_steps: int
) -> LRScheduler:
    """Return a scheduler whose warm-up has so many updates, whatever the batches to an update.

    Args:
        make: Makes it from the epochs of warm-up.
        updates: Of the warm-up.
        num_steps: Batches per epoch of this process.
    """
    scheduler = make(updates / num_steps)
    # How many batches an update has is known when there is an engine.
    scheduler.remake = lambda per_update: make(updates / math.ceil(num_steps / per_update))
    return scheduler
