"""The settings that configs share: type, unit, meaning and check of each."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basetrainer._names import nearest
from basetrainer.utils.config_values import (
    SWITCH_WORDS,
    Check,
    as_bool,
    as_choice,
    as_float,
    as_int,
    as_list,
    as_text,
    refusal,
)
from basetrainer.utils.misspelt import nearest_misspelling

__all__ = [
    "KNOWN_KEYS",
    "SETTINGS",
    "Setting",
    "as_bool",
    "as_choice",
    "as_float",
    "as_int",
    "check_key",
    "check_keys",
    "warn_misspelt",
]

logger = logging.getLogger(__name__)


_RESUME_WORDS = ("auto", "never")


@dataclass(frozen=True)
class Setting:
    """What one key of a config may hold; None always means that it is not set."""

    kind: str
    """Type, in words."""

    meaning: str
    """What it does, with the unit."""

    example: str
    """A good value, as YAML has it."""

    check: Check
    """Converts and checks."""


def _anything(name: str, value: object, origin: str, *, example: str | None) -> object:
    return value


def _data(name: str, value: object, origin: str, *, example: str | None) -> object:
    """One path, several, or such under each of several names."""
    if isinstance(value, Mapping):
        return {key: _paths(name, paths, origin, example=example) for key, paths in value.items()}
    return _paths(name, value, origin, example=example)


def _paths(name: str, value: object, origin: str, *, example: str | None) -> object:
    if isinstance(value, (list, tuple)):
        return as_list(name, value, origin, as_text, example=example)
    return as_text(name, value, origin, example=example)


def _names(name: str, value: object, origin: str, *, example: str | None) -> object:
    if isinstance(value, (list, tuple, Mapping)):
        return value
    return as_text(name, value, origin, example=example)


def _text_or_switch(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A text; old programs have false, or a switch of their own, in its place."""
    return value if isinstance(value, bool) else as_text(name, value, origin, example=example)


def _weights(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A switch; or a text, which names weights or the file that holds them."""
    is_switch = not isinstance(value, str) or value.strip().lower() in SWITCH_WORDS
    return (as_bool if is_switch else as_text)(name, value, origin, example=example)


def _broken(name: str, value: object, origin: str, *, example: str | None) -> object:
    return as_choice(name, value, origin, ("raise", "skip"))


def _arguments(name: str, value: object, origin: str, *, example: str | None) -> object:
    """Arguments by name; an empty list or text is none."""
    if not value:
        return {}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    raise refusal(name, value, "is not a mapping of arguments", origin, example)


def _flag(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A text, or a number that becomes one: it goes into the name of a folder."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return _text_or_switch(name, value, origin, example=example)


def _resume(name: str, value: object, origin: str, *, example: str | None) -> object:
    """``auto``, ``never``, or a path; a switch means one of the two words."""
    if isinstance(value, bool):
        return "auto" if value else "never"
    text = as_text(name, value, origin, example=example)
    word = text.strip().lower()
    if word in _RESUME_WORDS:
        return word
    near = nearest(word, _RESUME_WORDS)
    if near and not Path(text).exists():
        raise refusal(name, value, "is no path that exists", origin, f"Did you mean {near}?")
    return text


def _size(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    parts = value if isinstance(value, (list, tuple, str)) else [value]
    sizes = as_list(name, parts, origin, _COUNT, example=example)
    if len(sizes) not in (1, 2):
        raise refusal(name, value, "is not a width and a height", origin, example)
    return sizes if len(sizes) == 2 else sizes * 2


def _channels(
    name: str, value: object, origin: str, *, example: str | None, item: Check = as_float
) -> object:
    """One number per channel, or one for all."""
    if isinstance(value, (list, tuple, str)):
        return as_list(name, value, origin, item, example=example)
    return item(name, value, origin, example=example)


def _milestones(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    if not (isinstance(value, (list, tuple)) or (isinstance(value, str) and "," in value)):
        mend = f"[{value}]" if str(value).isdecimal() else example
        raise refusal(name, value, "is not a list of epochs", origin, mend)
    return as_list(name, value, origin, _FROM_ZERO, example=example)


def _gpu_id(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    parts = value if isinstance(value, (list, tuple, str)) else [value]
    ids = as_list(name, parts, origin, _FROM_ZERO, example=example)
    if not ids:
        raise refusal(name, value, "names no device", origin, "[0]")
    if len(set(ids)) < len(ids):
        once = str(list(dict.fromkeys(ids)))
        raise refusal(name, value, "names a device twice", origin, once)
    return ids


def _epochs(name: str, value: object, origin: str, *, example: str | None) -> int | float:
    number = as_float(name, value, origin, minimum=0, example=example)
    return int(number) if number.is_integer() else number  # programs count with it


_COUNT = functools.partial(as_int, minimum=1)
_FROM_ZERO = functools.partial(as_int, minimum=0)
_POSITIVE = functools.partial(as_float, above=0)
_NOT_NEGATIVE = functools.partial(as_float, minimum=0)
_MOMENTUM = functools.partial(as_float, minimum=0, below=1)
_DEVIATIONS = functools.partial(_channels, item=_POSITIVE)
_PATHS = "text, list of texts, or either under each of several names"
_NAMES = "text, list or mapping"
_SWITCH = "true or false"
_MAPPING = "mapping of arguments"

SETTINGS: dict[str, Setting] = {
    "train_data": Setting(_PATHS, "What to train on.", "data/train", _data),
    "test_data": Setting(_PATHS, "What to evaluate on.", "data/test", _data),
    "class_name": Setting(_NAMES, "Classes, or the file that lists them.", "[cat, dog]", _names),
    "train_transform": Setting("anything", "How training images are changed.", "train", _anything),
    "test_transform": Setting("anything", "How test images are prepared.", "val", _anything),
    "data_root": Setting("text", "Where paths in list files start from.", "data", as_text),
    "on_broken": Setting("raise or skip", "What a broken image does.", "skip", _broken),
    "resample": Setting("anything", "How much rare classes are repeated.", "mean", _anything),
    "work_dir": Setting("text", "Folder of what a run leaves.", "work_space", as_text),
    "net_type": Setting("text", "Network.", "mobilenet_v2", as_text),
    "width_mult": Setting("number > 0", "Factor of the network's channels.", "1.0", _POSITIVE),
    "input_size": Setting("[W, H]", "Size of the images, in pixels.", "[224, 224]", _size),
    "rgb_mean": Setting("numbers", "Subtracted from each channel.", "[0.5, 0.5, 0.5]", _channels),
    "rgb_std": Setting("numbers > 0", "Divides each channel.", "[0.5, 0.5, 0.5]", _DEVIATIONS),
    "batch_size": Setting("whole number >= 1", "Samples per process and step.", "32", _COUNT),
    "lr": Setting("number > 0", "Learning rate after warm-up.", "0.01", _POSITIVE),
    "optim_type": Setting("text", "Optimizer.", "SGD", as_text),
    "loss_type": Setting(_NAMES, "Loss, several, or a weight for each.", "CELoss", _names),
    "optim_args": Setting(_MAPPING, "More for the optimizer.", "{betas: [0.9, 0.95]}", _arguments),
    "loss_args": Setting(_MAPPING, "More for the loss.", "{label_smoothing: 0.1}", _arguments),
    "net_args": Setting(_MAPPING, "More for the network.", "{dropout: 0.2}", _arguments),
    "scheduler_args": Setting(_MAPPING, "More for the schedule.", "{lr_min: 0.001}", _arguments),
    "momentum": Setting("number >= 0 and < 1", "Momentum of SGD.", "0.9", _MOMENTUM),
    "num_epochs": Setting("whole number >= 1", "Epochs to train.", "30", _COUNT),
    "num_warn_up": Setting("number >= 0", "Epochs in which the rate rises.", "3", _epochs),
    "num_workers": Setting("whole number >= 0", "Loader workers per process.", "4", _FROM_ZERO),
    "weight_decay": Setting("number >= 0", "Pull of the weights to 0.", "0.0005", _NOT_NEGATIVE),
    "scheduler": Setting("text", "Schedule of the learning rate.", "cosine", as_text),
    "milestones": Setting("whole numbers >= 0", "Epochs when lr falls.", "[20, 35]", _milestones),
    "gpu_id": Setting("whole numbers >= 0", "Accelerators to use.", "[0]", _gpu_id),
    "log_freq": Setting("whole number >= 0", "Steps between lines; 0: none.", "50", _FROM_ZERO),
    "progress": Setting(_SWITCH, "Whether to show progress bars.", "true", as_bool),
    "pretrained": Setting(f"{_SWITCH}, or text", "ImageNet weights, or a file.", "true", _weights),
    "distributed": Setting(_SWITCH, "Whether to use a process per device.", "true", as_bool),
    "use_prune": Setting(_SWITCH, "Whether to prune the network.", "false", as_bool),
    "finetune": Setting("text", "File of weights to start from.", "best.pth", _text_or_switch),
    "resume": Setting("auto, never or a path", "What run to go on with.", "auto", _resume),
    "flag": Setting("text", "Part of the name of the run's folder.", "first", _flag),
    "config_file": Setting("text", "The file of settings.", "configs/config.yaml", as_text),
    "num_classes": Setting("whole number >= 1", "Classes, if not counted.", "10", _COUNT),
}
"""The keys that existing programs have in their files."""

_OTHERS = """
seed deterministic amp accumulate_steps clip_grad_norm channels_last compile steps_per_epoch
test_every on_nonfinite max_skips strategy save_every_updates save_every_epochs
save_every_minutes keep_last keep_best async_save ema_decay early_stop early_stop_indicator
max_minutes profile_steps start_save model_root log_root model_dir log_dir classes local_rank
freeze small_input sparsity prune_mod prune_rounds prune_epochs prune_backend prune_exclude
prune_linear dependency_aware slim_lambda
"""

KNOWN_KEYS: frozenset[str] = frozenset([*SETTINGS, *_OTHERS.split()])
"""These, and the keys that the engine and its callbacks read."""


def check_key(name: str, value: object, origin: str = "") -> Any:
    """Return the value of one key, converted to the type that :data:`SETTINGS` gives.

    Args:
        name: Key; the value of a key that is not in the table is returned as it is.
        value: What the user wrote; None, for a key that is not set, is returned as it is, or as no
            arguments where there may be some.
        origin: Where it comes from, for the message: ``"configs/config.yaml, line 7"``,
            ``"command line"``, or ``""`` (the default) if nobody knows.

    Raises:
        ConfigError: If it is of the wrong type or out of range; names key, value, origin, mend.
    """
    setting = SETTINGS.get(name)
    if setting is None or (value is None and setting.check is not _arguments):
        return value
    return setting.check(name, value, origin, example=setting.example)


def check_keys(cfg: MutableMapping[str, Any], origins: Mapping[str, str]) -> None:
    """Check and convert, in place, every value of ``cfg`` whose key is in :data:`SETTINGS`.

    Args:
        cfg: The settings.
        origins: Where the value of each key comes from, for the message; may lack keys.

    Raises:
        ConfigError: At the first value that is no good.
    """
    for name in SETTINGS:
        if name in cfg:
            cfg[name] = check_key(name, cfg[name], origins.get(name, ""))


def warn_misspelt(keys: Iterable[str], known: Iterable[str], origins: Mapping[str, str]) -> None:
    """Log one warning for each key that looks like a slip of the pen.

    Args:
        keys: What the user wrote.
        known: The keys that somebody reads.
        origins: Where each key stands, for the message; may lack keys.
    """
    known = frozenset(known)
    for key in keys:
        meant = None if key in known else nearest_misspelling(key, known)
        if meant:
            place = f" ({origins[key]})" if origins.get(key) else ""
            logger.warning(
                "%s%s: this key is not known. Did you mean %s? If it is your own, all is well.",
                key,
                place,
                meant,
            )
