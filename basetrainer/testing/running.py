"""Run a trainer for a check, and compare what two runs have left."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer.config.settings import get
from basetrainer.data.resume import close_workers, set_epoch
from basetrainer.distributed.model_state import full_state
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.resume.state import callback_states
from basetrainer.engine.trainer import EngineTrainer

Make: TypeAlias = Callable[..., EngineTrainer]
"""Takes settings by name, which go before those of its own, and returns a trainer that is built."""


def build(make: Make, folder: Path, **settings: Any) -> EngineTrainer:
    """Make a trainer whose run goes to ``folder``.

    The global generators are in another state each time: a trainer seeds what it needs.

    Raises:
        AssertionError: If it does not have the settings.
    """
    seed = int(torch.seed() % 2**32)
    random.seed(seed)
    np.random.seed(seed)
    trainer = make(work_dir=str(folder), progress=False, **settings)
    for key, value in settings.items():
        found = get(trainer.cfg, key)
        if found != value:
            raise AssertionError(
                f"make({key}={value!r}) returned a trainer whose cfg has {key} = {found!r}: let "
                f"the settings that make is called with go before its own."
            )
    return trainer


def run(make: Make, folder: Path, **settings: Any) -> dict[str, Any]:
    """Make a trainer, run it, and return what it has left.

    A run that is there is put aside, so that paths are the same in both.
    """
    if folder.exists():
        shutil.move(folder, folder.with_name(f"{folder.name}-{random.getrandbits(32):x}"))
    trainer = build(make, folder, **settings)
    return left(trainer, trainer.run())


def batches_of(make: Make, folder: Path, num_workers: int) -> dict[str, Any]:
    """Return the batches of two epochs and of the tests, by name.

    Raises:
        AssertionError: If a loader has another number of workers.
    """
    trainer = build(make, folder, num_workers=num_workers)
    loaders = {"train": trainer.train_loader, **named_test_sets(trainer.test_loader)}
    found: dict[str, Any] = {}
    for name, loader in loaders.items():
        if loader is None:
            continue
        if getattr(loader, "num_workers", num_workers) != num_workers:
            raise AssertionError(
                f"make(num_workers={num_workers}) returned a loader with {loader.num_workers}."
            )
        for epoch in range(2):
            set_epoch(loader, epoch)
            for number, batch in enumerate(loader):
                place = f"{name or 'test'} batch {number} of epoch {epoch_number(epoch)}"
                found.update({f"{place} {key}": value for key, value in flat(batch)})
        close_workers(loader)
    return found


def left(trainer: EngineTrainer, logs: Logs) -> dict[str, Any]:
    """Return the weights, figures and states of a run, by name; tensors are copies."""
    shared, mine = callback_states(trainer)
    found: dict[str, Any] = {}
    for title, part in (
        ("weight", full_state(trainer.model)),
        ("figure", {phase: dict(logs.get(phase) or {}) for phase in ("train", "test")}),
        ("state of", {**shared, **mine, type(trainer).__name__: trainer.state_dict()}),
    ):
        found.update({f"{title} {name}": value for name, value in flat(part)})
    return found


def flat(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a tree of dicts, lists and tuples holds, by its place: ``train.loss``."""
    if isinstance(tree, Mapping):
        parts = list(tree.items())
    elif isinstance(tree, (list, tuple)):
        parts = list(enumerate(tree))
    else:
        yield name, tree.detach().clone() if isinstance(tree, Tensor) else tree
        return
    for key, part in parts:
        yield from flat(part, f"{name}.{key}" if name else str(key))


def differences(one: Any, other: Any, tolerance: float = 0.0) -> list[str]:
    """Return in words where two trees differ.

    Args:
        one: A tree of dicts, lists, tuples, tensors and plain values.
        other: Another one.
        tolerance: By how much, relative to the larger of a value and 1, numbers may differ.
    """
    these, those = dict(flat(one)), dict(flat(other))
    found = [f"{name} is in one of the two only" for name in these.keys() ^ those.keys()]
    for name in these.keys() & those.keys():
        text = _difference(these[name], those[name], tolerance)
        if text:
            found.append(f"{name}: {text}")
    return sorted(found)


def _difference(one: Any, other: Any, tolerance: float) -> str:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{tuple(one.shape)} {one.dtype}, and {tuple(other.shape)} {other.dtype}"
        one, other = one.cpu().double(), other.cpu().double()
        if torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
            return ""
        return f"up to {float((one - other).abs().max()):.3g} apart"
    if isinstance(one, float) and isinstance(other, (int, float)):
        is_near = abs(one - other) <= tolerance * max(abs(one), abs(other), 1.0)
        return "" if is_near or one is other else f"{one!r}, and {other!r}"
    return "" if one is other or bool(np.all(one == other)) else f"{one!r}, and {other!r}"


def refuse(found: list[str], fault: str, advice: str) -> None:
    """Raise an AssertionError that says what is wrong, if anything is.

    Args:
        found: The places.
        fault: What they prove.
        advice: What it usually comes from.
    """
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise AssertionError(f"{fault}: {'; '.join(found[:3])}{more}. {advice}")
