"""Beacon: what a run is doing, in memory that outlives it, to know where it was killed."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import basetrainer as bt
from basetrainer.checkpoint.store import CheckpointStore

PHASES = ("start", "loader start", "training", "saving", "testing", "epoch's end", "end")
_FORM = "<qq"


class Beacon(bt.Callback):
    """Writes phase and steps done into a small file that is mapped into memory.

    Args:
        path: The file; made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.write_bytes(struct.pack(_FORM, 0, 0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._phase = 0
        self._steps = 0
        write: Callable[..., None] = CheckpointStore.write

        def saving(store: CheckpointStore, *args: Any, **options: Any) -> None:
            before = self._phase
            self.say("saving")
            write(store, *args, **options)
            self.say(PHASES[before])

        CheckpointStore.write = saving  # type: ignore[method-assign, assignment]

    def say(self, phase: str) -> None:
        """Write down what comes now."""
        self._phase = PHASES.index(phase)
        struct.pack_into(_FORM, self._memory, 0, self._phase, self._steps)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.say("loader start")

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.say("training")

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        engine = self.engine
        if engine is not None:
            self._steps = engine.position.epoch * len(engine.train_loader) + batch + 1
        self.say("training")

    def on_test_begin(self, logs: Any = None) -> None:
        self.say("testing")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.say("epoch's end")

    def on_train_end(self, logs: Any = None) -> None:
        self.say("end")


def seen(path: Path) -> tuple[str, int]:
    """Return the phase and the steps that the run has written down last."""
    try:
        phase, steps = struct.unpack(_FORM, path.read_bytes())
    except (OSError, struct.error):
        return PHASES[0], 0
    return PHASES[phase], steps
