"""From where a run goes on, whether it may, and what it promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basetrainer.checkpoint.manifest import Manifest
from basetrainer.checkpoint.run_folder import CHECKPOINTS, MANIFEST, checkpoint_paths
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.data.placed import BIT_EXACT
from basetrainer.data.resume import fingerprint, resume_promise
from basetrainer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

SAME_SAMPLES = "same samples, bits may differ"

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


def run_fingerprint(engine: Engine, parts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what must be alike for the same bits.

    Args:
        engine: Whose run it is.
        parts: What :func:`~basetrainer.engine.resume.run_parts.describe_parts` returned when it
            began.
    """
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
        **({} if parts is None else {"parts": dict(parts)}),
    }


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
