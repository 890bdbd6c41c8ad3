"""Damage the newest checkpoint of a run at random places, and see that each damage is noticed.

    python -m benchmarks.corruption     # 500 flipped bits, 500 cuts; 40 of the runs then go on

The damages are dealt to both files of the checkpoint and to every region of each. Noticed means:
the checkpoint before is used instead, and the one warning names the damaged file. A run that goes
on after a damage must end with the bits of the unharmed one.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.utils.run_folder import CHECKPOINTS, checkpoint_paths
from benchmarks import killable

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


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Damage checkpoints, and see that it is noticed.")
    parser.add_argument("--count", type=int, default=500, help="damages of each kind")
    parser.add_argument("--resumes", type=int, default=20, help="after how many the run goes on")
    args = parser.parse_args()
    logging.lastResort = None  # a thousand warnings
    with tempfile.TemporaryDirectory() as folder:
        tallies = examine(Path(folder), args.count, args.resumes)
    print(
        "| damage | done | noticed, the one before used | file named | went on | with equal bits |"
    )
    print("|---|---|---|---|---|---|")
    for kind, one in tallies.items():
        row = (kind, one.done, one.noticed, one.named, one.resumed, one.equal)
        print(f"| {' | '.join(map(str, row))} |")
    if any(one.named < one.done or one.equal < one.resumed for one in tallies.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
