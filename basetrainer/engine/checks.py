"""Checks of what a user's own methods returned, and of the keys of the settings."""

from __future__ import annotations

import contextlib
import inspect
import logging
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset, IterableDataset

from basetrainer._names import did_you_mean
from basetrainer.config.keys import warn_of_misspellings
from basetrainer.config.settings import as_mapping, origin_of
from basetrainer.distributed.strategy import is_wrapped
from basetrainer.engine.base import Base
from basetrainer.engine.config import EngineConfig
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

_ELSEWHERE = {"epochs": "num_epochs", "use_amp": "amp", "accum_steps": "accumulate_steps"}
"""What other libraries call a key of the engine."""

_READ_ONCE = (zip, map, filter, enumerate)


def warn_of_misspelt_keys(cfg: Any) -> None:
    """Log a warning for each key that looks like one which is not given.

    Keys of a file have been looked at by the parser, except for names of other libraries.
    """
    given = as_mapping(cfg)
    no_file = ("", "default", "command line")
    names = [key for key in given if key in _ELSEWHERE or origin_of(cfg, key) in no_file]
    warn_of_misspellings(names, {}, given, _ELSEWHERE)


def check_begun(trainer: object) -> None:
    """Refuse a trainer whose ``__init__`` left out ``super().__init__(cfg)``.

    Raises:
        ConfigError: Says so.
    """
    if not hasattr(trainer, "config"):
        raise ConfigError(
            f"{type(trainer).__name__}.__init__ must call super().__init__(cfg) before "
            f"self.build(cfg)."
        )


def check_loader(loader: Any, config: EngineConfig) -> None:
    """Refuse what does not give batches, or gives them once only.

    Raises:
        ConfigError: If a loader is a dataset, or a generator that has to last several epochs.
    """
    kind = type(loader).__name__
    is_map_style = isinstance(loader, Dataset) and not isinstance(loader, IterableDataset)
    if is_map_style and not hasattr(loader, "__iter__"):
        raise ConfigError(
            f"A loader is needed, but this is a dataset ({kind}), which gives samples, not "
            f"batches. Return self.build_dataloader(dataset, batch_size, num_workers)."
        )
    is_read_once = inspect.isgenerator(loader) or isinstance(loader, _READ_ONCE)
    if is_read_once and config.num_epochs > 1 and config.steps_per_epoch is None:
        raise ConfigError(
            f"A loader is needed, but this is a {kind}, which can be gone through once, but "
            f"num_epochs is {config.num_epochs}. Return a list, a loader, or an object whose "
            f"__iter__ starts anew; or say with steps_per_epoch how much of it an epoch is."
        )


def check_model(trainer: str, model: Any, num_processes: int) -> None:
    """Refuse what ``build_model`` returned if it is no model, or not spread over the processes.

    Raises:
        ConfigError: Says what to return instead.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"{trainer}.build_model returned a {type(model).__name__}, not a model. Return "
            f"self.build_model_parallel(model, cfg.gpu_id)."
        )
    if num_processes > 1 and not is_wrapped(model):
        raise ConfigError(
            f"{num_processes} processes train, but build_model returned a model that keeps "
            f"each replica to itself. Return self.build_model_parallel(model, cfg.gpu_id), or "
            f"set strategy: single."
        )


def refuse_torch_scheduler(callback: Any) -> None:
    """Refuse a scheduler of torch's among the callbacks, and say how it becomes one.

    Raises:
        ConfigError: If it is one.
    """
    if isinstance(callback, (torch.optim.lr_scheduler.LRScheduler, type)) and hasattr(
        callback, "get_last_lr"
    ):
        name = callback.__name__ if isinstance(callback, type) else type(callback).__name__
        raise ConfigError(
            f"{name} is a scheduler of torch's, not a callback. Write "
            f"basetrainer.Schedule.of(scheduler, per='update') in its place, or per='epoch' for "
            f"one that counts epochs."
        )


def checked_callbacks(trainer: str, callbacks: Any) -> list[Base]:
    """Return the callbacks that ``build_callbacks`` returned, those that are None left out.

    Args:
        trainer: Name of the trainer's class.
        callbacks: What was returned.

    Raises:
        ConfigError: If it is no list of callbacks; says what to write instead.
    """
    if callbacks is None:
        logger.warning(
            "%s.build_callbacks returned None, so no figure is recorded and nothing is saved. "
            "Return the list; an empty one if that is meant.",
            trainer,
        )
        return []
    if isinstance(callbacks, Base):
        name = type(callbacks).__name__
        raise ConfigError(f"{trainer}.build_callbacks returned a {name}. Return a list: [{name}].")
    given = [callback for callback in callbacks if callback is not None]
    for callback in given:
        refuse_torch_scheduler(callback)
        if isinstance(callback, type):
            name = callback.__name__
            raise ConfigError(
                f"{trainer}.build_callbacks returned the class {name} among the callbacks. Return "
                f"an object of it: {name}(...)."
            )
        if isinstance(callback, LRScheduler):
            name = type(callback).__name__
            raise ConfigError(
                f"{trainer}.build_callbacks returned torch's {name} among the callbacks, which the "
                f"engine does not step. Take basetrainer.get_scheduler(...), or write a Callback "
                f"that calls its step(), in on_epoch_end for a schedule by epoch."
            )
    return given


@contextlib.contextmanager
def telling_missing_keys(cfg: Any) -> Iterator[None]:
    """While entered, an attribute that a ``cfg`` lacks is explained in a note."""
    try:
        yield
    except AttributeError as error:
        if error.obj is cfg and error.name and sys.version_info >= (3, 11):  # 3.10 has no notes
            known = as_mapping(cfg)
            error.add_note(
                f"basetrainer: The settings are a plain dict: write cfg[{error.name!r}], or hand "
                f"the trainer EasyDict(cfg)."
                if isinstance(cfg, dict) and error.name in known
                else f"basetrainer: The settings have no key {error.name!r}."
                f"{did_you_mean(error.name, known)}"
            )
        raise
