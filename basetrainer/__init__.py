"""A subclassable PyTorch training engine: write six ``build_*`` methods, get a whole run."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from basetrainer.__version__ import __version__

if TYPE_CHECKING:
    from basetrainer.callbacks.callbacks import Callback, main_process_only
    from basetrainer.callbacks.early_stop import EarlyStop
    from basetrainer.callbacks.ema import EMA
    from basetrainer.callbacks.log_history import LogHistory
    from basetrainer.callbacks.losses_recorder import LossesRecorder
    from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
    from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
    from basetrainer.callbacks.swa import SWA
    from basetrainer.callbacks.time_limit import TimeLimit
    from basetrainer.callbacks.unfreeze import Unfreeze
    from basetrainer.config.keys import declares_keys, key, read_keys
    from basetrainer.config.parser import parser_config
    from basetrainer.criterion.criterion import build_criterion, get_criterion
    from basetrainer.engine.base import Base
    from basetrainer.engine.engine import Engine
    from basetrainer.engine.launch import launch
    from basetrainer.engine.preflight.dry_run import dry_run
    from basetrainer.engine.preflight.explain import explain_run
    from basetrainer.engine.trainer import EngineTrainer
    from basetrainer.errors import BaseTrainerError, ConfigError
    from basetrainer.inference.load_model import load_model
    from basetrainer.metric.accuracy_recorder import AccuracyRecorder
    from basetrainer.models.build_models import get_models
    from basetrainer.models.load_pruned import load_pruned
    from basetrainer.optimizer.build_optimizer import get_optimizer
    from basetrainer.pruning.nni_pruning import model_pruning
    from basetrainer.scheduler.build_scheduler import get_scheduler
    from basetrainer.scheduler.own import Schedule

__all__ = [
    "EMA",
    "SWA",
    "AccuracyRecorder",
    "Base",
    "BaseTrainerError",
    "Callback",
    "ConfigError",
    "EarlyStop",
    "Engine",
    "EngineTrainer",
    "LogHistory",
    "LossesRecorder",
    "ModelCheckpoint",
    "MultiLossesRecorder",
    "Schedule",
    "TimeLimit",
    "Unfreeze",
    "__version__",
    "build_criterion",
    "declares_keys",
    "dry_run",
    "explain_run",
    "get_criterion",
    "get_models",
    "get_optimizer",
    "get_scheduler",
    "key",
    "launch",
    "load_model",
    "load_pruned",
    "main_process_only",
    "model_pruning",
    "parser_config",
    "read_keys",
]

_HOMES = {
    "EMA": "callbacks.ema",
    "AccuracyRecorder": "metric.accuracy_recorder",
    "Base": "engine.base",
    "BaseTrainerError": "errors",
    "Callback": "callbacks.callbacks",
    "ConfigError": "errors",
    "EarlyStop": "callbacks.early_stop",
    "Engine": "engine.engine",
    "EngineTrainer": "engine.trainer",
    "LogHistory": "callbacks.log_history",
    "LossesRecorder": "callbacks.losses_recorder",
    "ModelCheckpoint": "callbacks.model_checkpoint",
    "MultiLossesRecorder": "callbacks.multi_losses_recorder",
    "TimeLimit": "callbacks.time_limit",
    "Unfreeze": "callbacks.unfreeze",
    "Schedule": "scheduler.own",
    "SWA": "callbacks.swa",
    "build_criterion": "criterion.criterion",
    "declares_keys": "config.keys",
    "dry_run": "engine.preflight.dry_run",
    "explain_run": "engine.preflight.explain",
    "get_criterion": "criterion.criterion",
    "get_models": "models.build_models",
    "get_optimizer": "optimizer.build_optimizer",
    "get_scheduler": "scheduler.build_scheduler",
    "key": "config.keys",
    "launch": "engine.launch",
    "load_model": "inference.load_model",
    "load_pruned": "models.load_pruned",
    "main_process_only": "callbacks.callbacks",
    "model_pruning": "pruning.nni_pruning",
    "parser_config": "config.parser",
    "read_keys": "config.keys",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``import basetrainer`` needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
