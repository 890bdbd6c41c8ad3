"""ResultsCsv: a row of figures per epoch, on disk before the next one begins."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs

PHASES = ("train", "test")


class ResultsCsv:
    """Appends rows under one fixed header: epoch, then train-X and test-X per indicator.

    A file of an earlier run with the same header is continued; one with another header is moved
    to ``results-1.csv``, ``results-2.csv``, ...

    Args:
        path: The file.
        indicators: The figures, in the order of the columns.
    """

    def __init__(self, path: Path, indicators: Sequence[str]) -> None:
        self._path = path
        self._indicators = list(indicators)
        header = ["epoch", *(f"{phase}-{name}" for name in indicators for phase in PHASES)]
        if self._read_header() == header:
            return
        if path.exists():
            number = 1
            while (kept := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
                number += 1
            path.rename(kept)
        self._write(header)

    def append(self, epoch: int, logs: Logs) -> None:
        """Write one row; a figure that this epoch lacks is an empty field."""
        figures = [_text(logs, phase, name) for name in self._indicators for phase in PHASES]
        self._write([str(epoch), *figures])

    def _read_header(self) -> list[str] | None:
        if not self._path.exists():
            return None
        with self._path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), None)

    def _write(self, row: list[str]) -> None:
        # Opened for each row: a crash loses the current one at most.
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)


def _text(logs: Logs, phase: str, name: str) -> str:
    value: Any = (logs.get(phase) or {}).get(name, "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
