"""The callbacks that keys of ``cfg`` ask for, added where the user did not."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from basetrainer.callbacks.early_stop import EarlyStop
from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.keep_zeros import KeepZeros
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.profiler import Profiler
from basetrainer.callbacks.slim import Slim
from basetrainer.callbacks.time_limit import TimeLimit
from basetrainer.callbacks.unfreeze import Unfreeze
from basetrainer.engine.base import Base
from basetrainer.engine.config import EngineConfig
from basetrainer.models.structure import structure_of


def add_default_callbacks(
    callbacks: Sequence[Base], config: EngineConfig, model: nn.Module
) -> list[Base]:
    """Return the callbacks with those that ``config`` or the model need, before ModelCheckpoint.

    Those that change weights come first of all, so that whoever else hears of an update, such as
    ``EMA``, sees the weights as they stay. A kind of callback that the user already gave is not
    added.
    """
    wanted: list[Base] = []
    changing: list[Base] = []
    if structure_of(model).get("zeros"):
        changing.append(KeepZeros())
    if config.slim_lambda is not None:
        changing.append(Slim(config.slim_lambda))
    if not any(isinstance(one, Unfreeze) for one in callbacks):
        changing.extend(Unfreeze(**stage) for stage in config.unfreeze)
    if config.ema_decay is not None:
        wanted.append(EMA(config.ema_decay))
    if config.early_stop is not None:
        wanted.append(EarlyStop(config.early_stop, config.early_stop_indicator))
    if config.max_minutes is not None:
        wanted.append(TimeLimit(config.max_minutes))
    if config.profile_steps:
        wanted.append(Profiler(config.profile_steps))

    def missing(ones: list[Base]) -> list[Base]:
        return [one for one in ones if not any(isinstance(own, type(one)) for own in callbacks)]

    is_saver = [isinstance(one, ModelCheckpoint) for one in callbacks]
    place = is_saver.index(True) if any(is_saver) else len(callbacks)
    return [*missing(changing), *callbacks[:place], *missing(wanted), *callbacks[place:]]
