"""What a run is made of, described when it begins, so that a resume can tell what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from basetrainer._monitor import Monitor
from basetrainer.config.settings import as_mapping
from basetrainer.data.resume import fingerprint
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.resume.state import keyed, known_parameters
from basetrainer.models.fresh import note_fresh
from basetrainer.utils.description import describe
from basetrainer.utils.digest import digest_of_list, name_of
from basetrainer.utils.optimizer_names import parameter_names

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

_CLASS_FILES = ("class_name", "classes", "class_names")
_IMPLEMENTATION = ("params", "param_names", "initial_lr", "foreach", "fused", "capturable")
"""Of a parameter group: what is compared apart, or does not change what is computed."""

_OF_LENGTH = ("num_epochs", "epochs", "num_steps", "schedule", "T_max", "total_steps")
"""Of a scheduler: what follows from the length of the run."""

_MADE = "_made_optimizer"
_SCHEDULERS = "basetrainer.scheduler."


def note_beginning(engine: Engine) -> None:
    """Note what model, criterion and optimizer are when they are built, before anything changes."""
    for module in (engine.model, engine.criterion):
        if isinstance(module, nn.Module):
            note_fresh(unwrap(module))
    vars(engine)[_MADE] = _optimizer(
        engine.optimizer, parameter_names(engine.optimizer, known_parameters(engine))
    )


def describe_config(cfg: Any) -> dict[str, Any]:
    """Return the config as what JSON has, each value described; None is empty."""
    if cfg is None:
        return {}
    values = as_mapping(cfg)
    return {str(key): _config_value(str(key), values[key]) for key in values}


def _config_value(key: str, value: Any) -> Any:
    if key in _CLASS_FILES and isinstance(value, str) and value:
        try:
            return Path(value).read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            pass
    return describe(value)


def describe_parts(engine: Engine) -> dict[str, Any]:
    """Return what the run is made of; to be called before its first step and before it is loaded.

    ::

        {"config", "optimizer", "criterion", "model", "train data", "start": lengths of the data,
         "schedulers": {callback: options}, "lengths": {callback: what follows from num_epochs},
         "test data", "monitored metrics": {callback: name and mode}}
    """
    if _MADE not in vars(engine):  # an engine that was put together by hand
        note_beginning(engine)
    callbacks = dict(keyed(engine.callbacks))
    schedulers = {key: found for key, one in callbacks.items() if (found := _schedulers(one))}
    tests = {
        name or "test": _loader(one)
        for name, one in named_test_sets(engine.test_loader).items()
        if one is not None
    }
    return {
        "config": describe_config(engine.cfg),
        "optimizer": vars(engine)[_MADE],
        "criterion": describe(engine.criterion),
        "model": _make(unwrap(engine.model)),
        "train data": _loader(engine.train_loader),
        "start": dict(fingerprint(engine.training_data.of(engine.train_loader))),
        "schedulers": {key: _of_length(found, False) for key, found in schedulers.items()},
        "lengths": {key: _of_length(found, True) for key, found in schedulers.items()},
        "test data": tests,
        "monitored metrics": {
            key: f"{monitor.indicator} ({monitor.mode})"
            for key, one in callbacks.items()
            if isinstance(monitor := getattr(one, "monitor", None), Monitor) and monitor.indicator
        },
    }


def _optimizer(optimizer: Any, names: Any) -> Any:
    if isinstance(optimizer, Mapping):
        return {str(key): _optimizer(one, names[key]) for key, one in optimizer.items()}
    if isinstance(optimizer, (list, tuple)):
        return [_optimizer(one, own) for one, own in zip(optimizer, names, strict=True)]
    if optimizer is None:
        return None
    param_groups: list[Any] = list(getattr(optimizer, "param_groups", ()))
    groups = [
        {
            "parameters": describe(own),
            **{
                str(key): describe(_number(value))
                for key, value in group.items()
                if key not in _IMPLEMENTATION
            },
        }
        for group, own in zip(param_groups, names, strict=True)
    ]
    return {"type": name_of(type(optimizer)), "groups": groups}


def _number(value: Any) -> Any:
    is_number = isinstance(value, torch.Tensor) and value.numel() == 1
    return value.item() if is_number else value


def _make(model: nn.Module) -> dict[str, Any]:
    """Return the type of the model and, part by part, a digest of its layers and their options."""
    # Buffers come with the weights that a run starts from, which another start may lack.
    description = describe(model, digests_floats=False)
    made: dict[str, Any] = {"type": description["type"]}
    for name, part in description.items():
        if isinstance(part, dict) and "type" in part:
            text = hashlib.blake2b(json.dumps(part).encode(), digest_size=8).hexdigest()
            # Layers have other attributes in other versions of torch.
            made[name] = {"type": part["type"], "make": f"{torch.__version__} {text}"}
        elif name != "module":
            made[name] = part
    return made


def _loader(loader: Any) -> Any:
    data = getattr(loader, "dataset", loader)
    made = {"type": name_of(type(data)), **_parts(data)}
    paths = getattr(getattr(data, "index", None), "paths", None)
    if paths is not None:
        made["files"] = digest_of_list(list(paths))
    for name in ("collate_fn", "sampler", "batch_sampler"):
        part = getattr(loader, name, None) if data is not loader else None
        if part is not None:
            made[name] = describe(part) if name == "collate_fn" else name_of(type(part))
    return made


def _parts(data: Any) -> dict[str, Any]:
    described = describe(data, digests_floats=False)
    return described if isinstance(described, dict) else {"values": described}


def _schedulers(callback: Any) -> dict[str, Any]:
    """Return the options of a callback that schedules, or has a scheduler of torch's."""
    if any(kind.__module__.startswith(_SCHEDULERS) for kind in type(callback).__mro__):
        return _options(callback)
    found: dict[str, Any] = {}
    for name, value in vars(callback).items():
        if isinstance(value, LRScheduler):
            found[name] = _options(value)
    return found


def _options(scheduler: Any) -> dict[str, Any]:
    plain = {
        name: value
        for name, value in vars(scheduler).items()
        if name not in ("model", "optimizer") and not name.startswith("_")
    }
    return {"type": name_of(type(scheduler)), **describe(plain)}


def _of_length(described: dict[str, Any], follows: bool) -> dict[str, Any]:
    """Return what follows from the length of the run, or what does not."""
    made = {name: one for name, one in described.items() if (name in _OF_LENGTH) is follows}
    for name, one in described.items():
        if isinstance(one, dict) and name not in _OF_LENGTH:  # a scheduler of torch's in a callback
            made[name] = _of_length(one, follows)
    return made
