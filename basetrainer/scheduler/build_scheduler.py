"""get_scheduler: from a schedule's name to the callback that applies it."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, overload

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler as OfTorch

from basetrainer._names import lookup, own_arguments
from basetrainer.errors import ConfigError
from basetrainer.scheduler import classic, table
from basetrainer.scheduler.names import settle_names, warmed_up_by_updates
from basetrainer.scheduler.own import Schedule, own_schedule
from basetrainer.scheduler.plateau import PlateauLR
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.table import scheduler_of
from basetrainer.scheduler.torch_schedule import TorchSchedule

logger = logging.getLogger(__name__)

SCHEDULERS: dict[str, Callable[..., LRScheduler]] = {
    "multi-step": classic.MultiStepLR,
    "multi_step": classic.MultiStepLR,
    # By name these two decay otherwise than the classes do.
    "cosine": functools.partial(classic.CosineLR, decay=1.0),
    "exp": functools.partial(classic.ExponentialLR, decay=0.95),
    "explr": functools.partial(classic.ExponentialLR, decay=0.95),
    "cosineannealinglr": classic.CosineAnnealingLR,
    "lambdalr": classic.LambdaLR,
    "constant": functools.partial(scheduler_of, table.constant),
    "linear": functools.partial(scheduler_of, table.linear),
    "poly": functools.partial(scheduler_of, table.poly),
    "cosine_step": functools.partial(scheduler_of, table.cosine_step),
    "cosine_restarts": functools.partial(scheduler_of, table.cosine_restarts),
    "one_cycle": functools.partial(scheduler_of, table.one_cycle),
    "plateau": PlateauLR,
}
"""The schedulers by name, in lower case."""

_GIVEN = {"run", "optimizer", "epochs", "num_steps", "lr_init"}
_WARM_UP = {"num_warn_up", "num_warm_up", "warm_up_updates", "warm_up_start"}
_WITHOUT_EFFECT = {
    "cosineannealinglr": {"num_cycles", "decay"},
    "one_cycle": {"warm_up_start"},
}


@overload
def get_scheduler(
    scheduler: str,
    optimizer: Optimizer,
    lr_init: float,
    num_epochs: int,
    num_steps: int,
    **kwargs: Any,
) -> LRScheduler: ...


@overload
def get_scheduler(
    scheduler: Callable[..., Any] | OfTorch,
    optimizer: Optimizer,
    lr_init: float | None = None,
    num_epochs: int | None = None,
    num_steps: int | None = None,
    **kwargs: Any,
) -> Schedule | TorchSchedule: ...


def get_scheduler(
    scheduler: str | Callable[..., Any] | OfTorch,
    optimizer: Optimizer,
    lr_init: float | None = None,
    num_epochs: int | None = None,
    num_steps: int | None = None,
    **kwargs: Any,
) -> LRScheduler | Schedule | TorchSchedule:
    """Return the callback that applies the schedule of that name, in any letter case.

    In the place of a name there may be a scheduler of ``torch.optim.lr_scheduler``, or its class
    (``get_scheduler(OneCycleLR, optimizer, max_lr=0.1, total_steps=900)``), or a plain function of
    the update; ``per="epoch"`` counts epochs. See :class:`~basetrainer.scheduler.own.Schedule`.

    =======================  ==================================================  ==============
    name                     own arguments, with defaults                        lr changes
    =======================  ==================================================  ==============
    multi-step, multi_step   milestones, gamma=0.1                               by epoch
    cosine                   num_cycles=1, decay=1.0, lr_min=1e-5                by epoch
    CosineAnnealingLR        lr_min=1e-6                                         by epoch
    exp, ExpLR               decay=0.95                                          by epoch
    LambdaLR                 lrf=0.2, linear_lr=False                            by epoch
    constant                                                                     never
    linear                   lr_min=0                                            by update
    poly                     power=0.9, lr_min=0                                 by update
    cosine_step              lr_min=0                                            by update
    cosine_restarts          num_cycles=1, decay=1.0, cycle_mult=1, lr_min=0     by update
    one_cycle                pct_start=0.3, div_factor=25, final_div_factor=1e4  by update
    plateau                  indicator="loss", inverse or mode, factor=0.1,      by evaluation
                             patience=10, threshold=1e-4, cooldown=0, lr_min=0
    =======================  ==================================================  ==============

    Args:
        scheduler: The name.
        optimizer: Whose learning rates are set; groups keep their ratios.
        lr_init: The learning rate at its highest.
        num_epochs: Epochs of the run.
        num_steps: Batches per epoch of this process.
        **kwargs: ``num_warm_up`` (epochs of linear warm-up, or part of one, default 0; the rise of
            ``one_cycle``; also as ``num_warn_up``) or ``warm_up_updates`` in its place,
            ``warm_up_start`` (factor of its first update, default 0.1), ``min_lr_ratio`` (the
            lowest learning rate over ``lr_init``, in the place of ``lr_min``) and the
            arguments above. Arguments that only other schedules know are left aside, with a line
            in the log, so that a config file can keep the settings of several. None counts as not
            given.

    Raises:
        UnknownNameError: If there is no such schedule.
        ConfigError: If an argument is missing, known to no schedule, or out of range.
    """
    if not isinstance(scheduler, str) and scheduler is not None:
        return own_schedule(scheduler, optimizer, kwargs)
    factory = lookup("scheduler", scheduler, SCHEDULERS)
    if lr_init is None or num_epochs is None or num_steps is None:
        raise ConfigError(
            f"Scheduler {scheduler!r} needs lr_init, num_epochs and num_steps, the batches of an "
            f"epoch."
        )
    usable = _arguments(factory) - _WITHOUT_EFFECT.get(scheduler.lower(), set())
    known = set().union(*(_arguments(one) for one in SCHEDULERS.values()))
    own, unused = own_arguments("scheduler", scheduler, kwargs, usable, known)
    warm_up_updates = settle_names(own, lr_init)
    own.setdefault("num_warn_up", 0)  # the classes of old have others
    _refuse_incomplete(scheduler, factory, own)
    if unused:
        logger.debug("scheduler %r does not use %s", scheduler, unused)

    def make(num_warn_up: float) -> LRScheduler:
        run = {"epochs": num_epochs, "num_steps": num_steps, "lr_init": lr_init}
        return factory(optimizer=optimizer, **run, **{**own, "num_warn_up": num_warn_up})

    if warm_up_updates is None:
        return make(own["num_warn_up"])
    return warmed_up_by_updates(make, warm_up_updates, num_steps)


def _arguments(factory: Callable[..., LRScheduler]) -> set[str]:
    plan = factory.args[:1] if isinstance(factory, functools.partial) else ()
    names = set(inspect.signature(*plan or (factory,)).parameters)
    if "lr_min" in names:
        names.add("min_lr_ratio")
    return (names | _WARM_UP) - _GIVEN


def _refuse_incomplete(
    scheduler: str, factory: Callable[..., LRScheduler], own: dict[str, Any]
) -> None:
    if "milestones" in _arguments(factory) and "milestones" not in own:
        raise ConfigError(
            f"Scheduler {scheduler!r} needs milestones, which were not given. Pass a list of "
            f"epochs such as milestones=[30, 60], or [] for a constant learning rate."
        )
