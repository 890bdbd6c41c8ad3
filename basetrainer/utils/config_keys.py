"""The settings that configs share: type, unit, meaning and check of each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from basetrainer._names import nearest_key
from basetrainer.utils.config_checks import (
    COUNT,
    DEVIATIONS,
    FROM_ZERO,
    MOMENTUM,
    NOT_NEGATIVE,
    POSITIVE,
    as_anything,
    as_arguments,
    as_broken,
    as_cache,
    as_channels,
    as_data,
    as_epochs,
    as_flag,
    as_gpu_id,
    as_milestones,
    as_names,
    as_resume,
    as_size,
    as_text_or_switch,
    as_texts,
    as_weights,
    as_workers,
)
from basetrainer.utils.config_values import (
    Check,
    as_bool,
    as_choice,
    as_float,
    as_int,
    as_text,
)

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
    "decides_run",
    "is_told",
    "warn_misspelt",
]

logger = logging.getLogger(__name__)


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


_PATHS = "text, list of texts, or either under each of several names"
_NAMES = "text, list or mapping"
_SWITCH = "true or false"
_MAPPING = "mapping of arguments"
_OPTIM = as_arguments("model", "optim_type", "lr")
_LOSS = as_arguments("loss_type", "num_classes")
_NET = as_arguments("net_type", "input_size", "num_classes", "width_mult")
_SCHEDULE = as_arguments("scheduler", "optimizer", "lr_init", "num_epochs", "num_steps")

SETTINGS: dict[str, Setting] = {
    "train_data": Setting(_PATHS, "What to train on.", "data/train", as_data),
    "test_data": Setting(_PATHS, "What to evaluate on.", "data/test", as_data),
    "class_name": Setting(_NAMES, "Classes, or the file that lists them.", "[cat, dog]", as_names),
    "train_transform": Setting("anything", "How training images change.", "train", as_anything),
    "test_transform": Setting("anything", "How test images are prepared.", "val", as_anything),
    "data_root": Setting("text", "Where paths in list files start from.", "data", as_text),
    "on_broken": Setting("raise or skip", "What a broken image does.", "skip", as_broken),
    "cache": Setting("disk", "Where decoded images are kept.", "disk", as_cache),
    "cache_dir": Setting("text", "Folder of kept images.", "work_space/cache", as_text),
    "cache_size": Setting("whole number >= 0", "Shorter side of kept images.", "256", FROM_ZERO),
    "resample": Setting("anything", "How much rare classes are repeated.", "mean", as_anything),
    "work_dir": Setting("text", "Folder of what a run leaves.", "work_space", as_text),
    "net_type": Setting("text", "Network.", "mobilenet_v2", as_text),
    "width_mult": Setting("number > 0", "Factor of the network's channels.", "1.0", POSITIVE),
    "input_size": Setting("[W, H]", "Size of the images, in pixels.", "[224, 224]", as_size),
    "rgb_mean": Setting("numbers", "Subtracted from each channel.", "[0.5, 0.5, 0.5]", as_channels),
    "rgb_std": Setting("numbers > 0", "Divides each channel.", "[0.5, 0.5, 0.5]", DEVIATIONS),
    "batch_size": Setting("whole number >= 1", "Samples per process and step.", "32", COUNT),
    "test_batch_size": Setting("whole number >= 1", "Samples of a test batch.", "256", COUNT),
    "lr": Setting("number > 0", "Learning rate after warm-up.", "0.01", POSITIVE),
    "optim_type": Setting("text", "Optimizer.", "SGD", as_text),
    "loss_type": Setting(_NAMES, "Loss, several, or a weight for each.", "CELoss", as_names),
    "optim_args": Setting(_MAPPING, "More for the optimizer.", "{betas: [0.9, 0.95]}", _OPTIM),
    "loss_args": Setting(_MAPPING, "More for the loss.", "{label_smoothing: 0.1}", _LOSS),
    "net_args": Setting(_MAPPING, "More for the network.", "{dropout: 0.2}", _NET),
    "scheduler_args": Setting(_MAPPING, "More for the schedule.", "{lr_min: 0.001}", _SCHEDULE),
    "momentum": Setting("number >= 0 and < 1", "Momentum of SGD.", "0.9", MOMENTUM),
    "num_epochs": Setting("whole number >= 1", "Epochs to train.", "30", COUNT),
    "num_warn_up": Setting("number >= 0", "Epochs in which the rate rises.", "3", as_epochs),
    "num_workers": Setting("number >= 0, or auto", "Loaders per process.", "auto", as_workers),
    "weight_decay": Setting("number >= 0", "Pull of the weights to 0.", "0.0005", NOT_NEGATIVE),
    "scheduler": Setting("text", "Schedule of the learning rate.", "cosine", as_text),
    "milestones": Setting("whole numbers >= 0", "Epochs when lr falls.", "[20, 35]", as_milestones),
    "gpu_id": Setting("whole numbers >= 0", "Accelerators to use.", "[0]", as_gpu_id),
    "log_freq": Setting("whole number >= 0", "Steps between lines; 0: none.", "50", FROM_ZERO),
    "progress": Setting(_SWITCH, "Whether to show progress bars.", "true", as_bool),
    "pretrained": Setting(f"{_SWITCH}, or text", "Weights to start from.", "true", as_weights),
    "distributed": Setting(_SWITCH, "Whether to use a process per device.", "true", as_bool),
    "freeze": Setting("text or texts", "What is not trained.", "[conv1, 'layer[12]']", as_texts),
    "small_input": Setting(_SWITCH, "Whether images are of about 32 pixels.", "true", as_bool),
    "use_prune": Setting(_SWITCH, "Whether to prune the network.", "false", as_bool),
    "finetune": Setting("text", "File of weights to start from.", "best.pth", as_text_or_switch),
    "resume": Setting("auto, never or a path", "What run to go on with.", "auto", as_resume),
    "flag": Setting("text", "Part of the name of the run's folder.", "first", as_flag),
    "config_file": Setting("text", "The file of settings.", "configs/config.yaml", as_text),
    "num_classes": Setting("whole number >= 1", "Classes, if not counted.", "10", COUNT),
}
"""The keys that existing programs have in their files."""

_OTHERS = """
seed deterministic amp accumulate_steps clip_grad_norm channels_last compile steps_per_epoch
test_every on_nonfinite max_skips strategy save_every_updates save_every_epochs
save_every_minutes keep_last keep_best async_save ema_decay early_stop early_stop_indicator
max_minutes stall_limit profile_steps start_save model_root log_root model_dir log_dir classes
local_rank sparsity prune_mod prune_rounds prune_epochs prune_backend prune_exclude
prune_linear dependency_aware slim_lambda inference_mode keep_memory
"""

KNOWN_KEYS: frozenset[str] = frozenset([*SETTINGS, *_OTHERS.split()])
"""These, and the keys that the engine and its callbacks read."""

_FREE = """
work_dir model_root log_root model_dir log_dir moder_dir output_dir save_dir cache_dir flag
config_file log_freq progress gpu_id num_workers local_rank rank world_size batch_size
test_batch_size num_epochs keep_memory inference_mode resume save_every_updates save_every_epochs
save_every_minutes async_save start_save keep_last keep_best max_minutes stall_limit profile_steps
note notes comment comments description name exp_name experiment run_name run_id project tag tags
user author host hostname date time timestamp start_time verbose debug port dist_url
device devices gpu gpus gpu_ids workers pin_memory persistent_workers prefetch_factor
local_world_size log_level log_name log_interval log_every print_freq print_every save_freq
save_every save_interval save_best wandb use_wandb tensorboard use_tensorboard quiet job_id
"""
_TOLD = """
train_data test_data data_root pretrained finetune early_stop early_stop_indicator strategy compile
deterministic distributed
"""
_TOLD_ENDINGS = ("_dir", "_root", "_path", "_file", "_folder", "_url")


def decides_run(key: str) -> bool:
    """Whether another value of a key makes another run of it, so that it must not be resumed.

    Every key does, a program's own too, unless it is known not to: paths, logging, devices, what is
    kept, and names. ``batch_size`` and ``num_epochs`` are among them, since the global batch is
    compared in its place, and a run may be made longer.
    """
    return key not in _FREE.split() and not is_told(key)


def is_told(key: str) -> bool:
    """Whether another value of a key is warned of, but the run may be resumed."""
    return key in _TOLD.split() or (
        key.endswith(_TOLD_ENDINGS) and key not in SETTINGS and key not in _FREE.split()
    )


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
    if setting is None or (value is None and setting.kind != _MAPPING):
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
        meant = None if key in known else nearest_key(key, known)
        if meant:
            place = f" ({origins[key]})" if origins.get(key) else ""
            logger.warning(
                "%s%s: this key is not known. Did you mean %s? If it is your own, all is well.",
                key,
                place,
                meant,
            )
