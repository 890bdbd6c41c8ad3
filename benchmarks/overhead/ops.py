"""Tensor operations and host reads of a step, counted: figures that no load of the machine changes.

    python -m benchmarks.overhead.ops

Counted between two log points, where nothing should be read; ranges of the profiler are no
operations. See :class:`~basetrainer.testing.host_reads.HostReads` for what is not seen.
"""

from __future__ import annotations

import importlib
import math
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from basetrainer.engine.progress import progress
from basetrainer.testing.host_reads import HostRead, HostReads
from benchmarks.overhead.work import LEVELS, LOG_EVERY, Batch, Clocked, Work

LOOPS = ("raw", "by_hand", "ours")
FIRST, LAST = LOG_EVERY + 5, 2 * LOG_EVERY - 5
NEVER: dict[str, Any] = {"SECONDS_BETWEEN_DRAWS": math.inf, "SECONDS_BETWEEN_LINES": math.inf}


class Counting(Clocked):
    """Counts what is done from one batch to another one, both between two log points."""

    found = HostReads()

    def __getitem__(self, index: int) -> Batch:
        if index == FIRST:
            self._stack = ExitStack()
            self.found = self._stack.enter_context(HostReads())
        elif index == LAST:
            self._stack.close()
        return super().__getitem__(index)


def count(loop: str, level: str) -> tuple[float, list[HostRead]]:
    """Return the tensor operations of a step, and what some steps read on the host."""
    # Bar and lines are drawn by the clock; where it says so is a log point, too.
    with tempfile.TemporaryDirectory() as folder, mock.patch.multiple(progress, **NEVER):
        work = Work("mlp", level, 2 * LOG_EVERY, Path(folder))
        work.data.__class__ = Counting
        importlib.import_module(f"benchmarks.overhead.{loop}").train(work)
        assert isinstance(work.data, Counting)  # noqa: S101 # as it was just made
        found = work.data.found
    ops = sum(one for name, one in found.ops.items() if not name.startswith("profiler::"))
    return ops / (LAST - FIRST), found.reads


def main() -> None:
    """Print a table."""
    print("| level | loop | operations a step | host reads a step |\n|---|---|---|---|")
    for level in LEVELS:
        for loop in LOOPS:
            ops, reads = count(loop, level)
            print(f"| {level} | {loop} | {ops:g} | {len(reads) / (LAST - FIRST):g} |")


if __name__ == "__main__":
    main()
