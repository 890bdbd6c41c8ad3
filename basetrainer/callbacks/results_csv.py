"""ResultsCsv: a row of figures per epoch, on disk before the next one begins."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs, metrics_by_set


class ResultsCsv:
    """Appends rows under one fixed header: epoch, then train-X and test-X per indicator.

    With several test sets there is a column ``test-SET/X`` for each of them.

    A file of an earlier run with the same header is continued; one with another header is moved
    to ``results-1.csv``, ``results-2.csv``, ...

    Args:
        path: The file.
        indicators: The figures, in the order of the columns.
        test_sets: The names of the test sets, if there are several.
    """

    def __init__(
        self, path: Path, indicators: Sequence[str], test_sets: Sequence[str] = ()
    ) -> None:
        self._path = path
        places = [("train", ""), *(("test", name) for name in test_sets or [""])]
        self._columns = [(*place, name) for name in indicators for place in places]
        cut_unfinished_line(path)
        header = ["epoch", *map(_title, self._columns)]
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
        figures = [_text(logs, *column) for column in self._columns]
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


def cut_unfinished_line(path: Path) -> None:
    """Take off the part of a line that a run was writing when it was killed."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def _title(column: tuple[str, str, str]) -> str:
    phase, test_set, name = column
    return f"{phase}-{test_set}/{name}" if test_set else f"{phase}-{name}"


def _text(logs: Logs, phase: str, test_set: str, name: str) -> str:
    value: Any = metrics_by_set(logs.get(phase)).get(test_set, {}).get(name, "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
