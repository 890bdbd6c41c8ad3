"""Estimate: how long a run takes, and what memory and disk it needs, from a few of its steps."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from basetrainer.checkpoint.run_folder import CHECKPOINTS
from basetrainer.data.placed import length
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.progress.progress import duration
from basetrainer.utils.disk import free_bytes
from basetrainer.utils.posix import peak_memory

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

_KEPT_MODEL = re.compile(r"model_\d{3,}(_.*)?\.pth")


Seconds: TypeAlias = dict[str, list[float]]
"""What the steps of a few batches took, by phase: ``train`` and ``test``."""


@dataclass(frozen=True)
class Estimate:
    """What a whole run needs."""

    num_epochs: int
    num_steps: int
    """Batches of an epoch; 0 if not known."""
    seconds: float
    """Of the run; training, tests and saving, without starting it."""
    memory: int
    """Most bytes held so far: of the accelerator, or by this process; 0 if not known."""
    disk: int
    """Bytes of what the run leaves, and of the checkpoint that is being written."""
    free: int
    """Bytes that the disk of the run's folder has left."""

    def __str__(self) -> str:
        steps = f"{self.num_epochs} epochs of {self.num_steps or '?'} steps"
        memory = f"{_size(self.memory)} so far" if self.memory else "not known"
        free = "not known" if self.free == sys.maxsize else _size(self.free)
        return (
            f"{steps} take about {duration(self.seconds)}; memory {memory}; "
            f"disk {_size(self.disk)}, free {free}"
        )


def estimate(
    engine: Engine, seconds: Seconds, num_epochs: int, written: Path, real_folder: Path
) -> Estimate:
    """Return what a run of ``num_epochs`` needs.

    The time is that of the fastest step seen, so a loader that cannot keep up makes it longer.

    Args:
        engine: It has run one epoch of a few batches.
        seconds: What those took.
        num_epochs: Of the real run.
        written: The folder that it has filled.
        real_folder: Where the real run will write; it need not exist.
    """
    steps = getattr(engine, "num_steps", 0) or length(engine.train_loader)
    tests = sum(length(one) for one in named_test_sets(engine.test_loader).values())
    num_tests = -(-num_epochs // engine.config.test_every)
    saving = engine.run_clock.measure_run(engine)["checkpoints"]
    whole = num_epochs * (steps * _of_one(seconds["train"]) + saving)
    whole += num_tests * tests * _of_one(seconds["test"])
    disk = _disk(engine, num_epochs, written)
    free = free_bytes(existing(real_folder))
    return Estimate(num_epochs, steps, whole, _memory(engine.device), disk, free)


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _of_one(seconds: list[float]) -> float:
    """Return the time of a usual step: the first ones warm things up, so the shortest."""
    return min(seconds, default=0.0)


def _disk(engine: Engine, num_epochs: int, written: Path) -> int:
    """Scale what one epoch has written to a run."""
    config = engine.config
    kept = min(num_epochs, config.keep_last + config.keep_best) + 1  # the next one comes first
    total = weights = largest = 0
    checkpoints = {path: 0 for path in written.rglob(f"{CHECKPOINTS}/*") if path.is_dir()}
    for file in written.rglob("*"):
        if not file.is_file():
            continue
        size = file.stat().st_size
        if file.parent in checkpoints:
            checkpoints[file.parent] += size
        elif file.suffix != ".pth":
            total += size * (1 if file.suffix == ".png" else num_epochs)
        elif not _KEPT_MODEL.fullmatch(file.name):
            total += size  # of the best, the latest, the state there is one each
            largest = max(largest, size)
            weights = max(weights, size if file.name != "model_optimizer.pth" else 0)
    num_models = sum(_kept_models(one, num_epochs) for one in engine.callbacks)
    total += kept * max(checkpoints.values(), default=0)
    return total + weights * num_models + largest  # the next one comes first


def _kept_models(callback: object, num_epochs: int) -> int:
    """Return how many ``model_*`` files a ModelCheckpoint keeps."""
    start = getattr(callback, "start_save", None)
    if start is None or start == 0:
        return 0
    most: int = getattr(callback, "model_nums", 0) if start < 0 else num_epochs - start
    return max(0, min(num_epochs, most))


def _memory(device: torch.device) -> int:
    if device.type == "cpu":
        return peak_memory()
    most = getattr(torch.get_device_module(device), "max_memory_allocated", None)
    return int(most(device)) if most is not None else 0


def _size(num_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
