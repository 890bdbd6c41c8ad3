"""From where a run goes on, whether it may, and what it promises."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basetrainer.checkpoint.manifest import Manifest
from basetrainer.checkpoint.run_folder import CHECKPOINTS, MANIFEST, checkpoint_paths
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.config.settings import as_mapping, easy2dict, origin_of
from basetrainer.data.placed import BIT_EXACT
from basetrainer.data.resume import fingerprint, resume_promise
from basetrainer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

SAME_SAMPLES = "same samples, bits may differ"

_SHAPING = """
lr optim_type momentum weight_decay scheduler milestones num_warn_up loss_type
net_type width_mult input_size rgb_mean rgb_std train_transform resample freeze
small_input accumulate_steps clip_grad_norm amp seed steps_per_epoch on_nonfinite max_skips
ema_decay channels_last split_params slim_lambda
use_prune prune_mod sparsity prune_backend prune_exclude prune_linear
optim_args loss_args net_args scheduler_args on_broken cache cache_size
"""
SHAPING: frozenset[str] = frozenset(_SHAPING.split())
"""Settings that decide what the weights become; with another value it is another run."""

_MOVED = ("train_data", "test_data")
"""Settings that change when a run moves to another machine: that is only warned of."""

_SHARES = ("batch_size", "world_size", "rank")
"""What the data say of one process; the global batch stands for them."""
_SAME_MACHINE = ("world_size", "torch", "threads", "amp", "device")


@dataclass(frozen=True)
class Origin:
    """The checkpoint that a run goes on from."""

    path: Path
    manifest: Manifest
    is_own: bool
    """Whether it is of this run's folder, chosen by ``resume: auto``."""


def find_origin(resume: str, store: CheckpointStore, folder: Path) -> Origin | None:
    """Return the newest good checkpoint that ``resume`` means; None to begin anew.

    Args:
        resume: ``auto``, or the path of a run, of its checkpoints, or of one of them.
        store: This run's checkpoints.
        folder: This run's.

    Raises:
        ConfigError: If the path is no run.
        CheckpointError: If there are checkpoints, but none is good.
    """
    own = next(store.good(), None)
    if own is not None and (resume == "auto" or own[1].resumed_from == resume):
        return Origin(*own, is_own=True)
    if resume == "auto":
        if store.newest() is not None:
            raise CheckpointError(
                f"No checkpoint in {store.folder} is whole (see above), so the run cannot go on. "
                f"Put that folder aside to begin anew."
            )
        return None
    path = Path(resume)
    if (path / MANIFEST).is_file():
        return Origin(path, CheckpointStore.verify(path), is_own=False)
    for place in (path / CHECKPOINTS, path):
        if checkpoint_paths(place):
            found = next(CheckpointStore(place).good(), None)
            if found is None:
                raise CheckpointError(f"No checkpoint in {place} is whole (see above).")
            return Origin(*found, is_own=False)
    if path.is_file():
        raise ConfigError(
            f"resume: {resume!r} is a file. To go on with a run, name its folder; to start from "
            f"the weights in a file, use finetune."
        )
    raise ConfigError(
        f"resume: {resume!r} is no run: there are no checkpoints in it. Name the folder of a run, "
        f"or one of its checkpoints such as {folder / CHECKPOINTS / 'update-00001000'}, or write "
        f"auto."
    )


def run_fingerprint(engine: Engine) -> dict[str, Any]:
    """Return what must be alike for the same bits."""
    device = engine.device
    batch_size = int(getattr(engine.train_loader, "batch_size", None) or 0)
    return {
        "data": {
            key: value
            for key, value in fingerprint(engine.training_data.of(engine.train_loader)).items()
            if key not in _SHARES
        },
        "global_batch": batch_size * engine.context.world_size,
        "world_size": engine.context.world_size,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "amp": engine.config.amp,  # "auto" is not the same everywhere
        "device": device.type
        if device.type == "cpu"
        else torch.get_device_module(device).get_device_name(device),
    }


def plain_config(cfg: Any) -> dict[str, Any]:
    """Return the settings as what JSON has; other values as their text."""
    settings: dict[str, Any] = _plain(easy2dict(as_mapping(cfg))) if cfg is not None else {}
    return settings


def check_changes(origin: Origin, engine: Engine) -> bool:
    """Compare the settings and the data of now with those of then.

    Returns:
        Whether a setting that decides what is learnt is another.

    Raises:
        ConfigError: If so, and the checkpoint was found by ``auto``; names each difference.
    """
    config = plain_config(engine.cfg)
    changes = {
        key: f"{key}: {origin.manifest.config.get(key)!r} then, {config.get(key)!r} now"
        for key in sorted(config.keys() | origin.manifest.config.keys())
        if origin.manifest.config.get(key) != config.get(key)
    }
    shaping = [
        text + (f" ({place})" if (place := origin_of(engine.cfg, key)) else "")
        for key, text in changes.items()
        if key in SHAPING
    ]
    now = run_fingerprint(engine)
    then = origin.manifest.fingerprint
    shaping += [
        f"the training data's {key}: {old} then, {new} now"
        for key, new in {"global_batch": now["global_batch"], **now["data"]}.items()
        if (old := then.get("data", {}).get(key, then.get(key))) != new
    ]
    if shaping and origin.is_own:
        raise ConfigError(
            f"The run in {origin.path.parent.parent} would not be the same any more. "
            f"{'; '.join(shaping)}. Go on with the old settings; or begin anew, with resume: never "
            f"or another work_dir; or go on with the new ones from resume: {origin.path}"
        )
    for text in shaping:
        logger.warning("resume: changed: %s", text)
    for key, text in changes.items():
        if key not in SHAPING:
            logger.log(
                logging.WARNING if key in _MOVED else logging.DEBUG, "resume: changed: %s", text
            )
    return bool(shaping)


def promise(engine: Engine, origin: Origin | None) -> str:
    """Return how exactly the run goes on, if it is ended anywhere and started again."""
    level, reason = resume_promise(engine.training_data.of(engine.train_loader))
    if level != BIT_EXACT:
        return f"{level} ({reason})"
    reasons = []
    if engine.device.type != "cpu" and not engine.config.deterministic:
        reasons.append(f"deterministic: False on {engine.device.type}")
    if origin is not None:
        now = run_fingerprint(engine)
        for key in _SAME_MACHINE:
            then = origin.manifest.fingerprint.get(key)
            if then != now[key]:
                reasons.append(f"{key} was {then}, is {now[key]}")
    return f"{SAME_SAMPLES} ({'; '.join(reasons)})" if reasons else BIT_EXACT


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)
