"""Damage the newest checkpoint of a run at random places, and count what is noticed."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basetrainer.checkpoint.run_folder import CHECKPOINTS, checkpoint_paths
from basetrainer.checkpoint.store import CheckpointStore
from scenarios import killable

KINDS = ("flip", "cut")


@dataclass
class Tally:
    """What came of the damages of one kind."""

    done: int = 0
    noticed: int = 0
    named: int = 0
    resumed: int = 0
    equal: int = 0


class Heard(logging.Handler):
    """Keeps the warnings of the library."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(record.getMessage())


def damaged(data: bytes, kind: str, at: float, chance: random.Random) -> bytes:
    """Return the bytes with a bit flipped, or cut off, at a fraction of their length."""
    place = min(int(at * len(data)), len(data) - 1)
    if kind == "cut":
        return data[:place]
    harmed = bytearray(data)
    harmed[place] ^= 1 << chance.randrange(8)
    return bytes(harmed)


def damages(path: Path, count: int, kind: str, chance: random.Random) -> Iterator[Path]:
    """Damage a file of the checkpoint, yield it, and mend it; ``count`` times."""
    files = sorted(path.iterdir())
    each = -(-count // len(files))  # of each file: one in each of so many regions
    for number in range(count):
        file = files[number % len(files)]
        whole = file.read_bytes()
        at = (number // len(files) + chance.random()) / each
        file.write_bytes(damaged(whole, kind, at, chance))
        yield file
        file.write_bytes(whole)


def examine(folder: Path, count: int, resumes: int) -> dict[str, Tally]:
    """Train, and then damage what was saved.

    Args:
        folder: An empty one.
        count: Damages of each kind.
        resumes: After how many of each kind the run goes on.
    """
    cfg = {**killable.SETTINGS, "num_epochs": 2, "work_dir": str(folder / "run")}
    killable.main(cfg)
    run = folder / "run"
    expected = (run / "final.json").read_bytes()
    store = CheckpointStore(run / CHECKPOINTS)
    newest, before = checkpoint_paths(store.folder)[:2]
    heard, library = Heard(), logging.getLogger("basetrainer")
    library.addHandler(heard)
    tallies = {kind: Tally() for kind in KINDS}
    try:
        for kind, tally in tallies.items():
            goes_on = set(range(0, count, -(-count // resumes))) if resumes else set()
            for file in damages(newest, count, kind, random.Random(kind)):
                heard.lines.clear()
                found = next(store.good(), None)
                tally.noticed += found is not None and found[0] == before
                tally.named += len(heard.lines) == 1 and str(file) in heard.lines[0]
                if tally.done in goes_on:
                    tally.resumed += 1
                    tally.equal += resumed(run, folder / "copy", cfg) == expected
                tally.done += 1
    finally:
        library.removeHandler(heard)
    return tallies


def resumed(run: Path, copy: Path, cfg: dict[str, Any]) -> bytes:
    """Let a copy of the run go on, and return what came out of it."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy, symlinks=True)
    (copy / "final.json").unlink()
    killable.main({**cfg, "work_dir": str(copy)})
    return (copy / "final.json").read_bytes()
