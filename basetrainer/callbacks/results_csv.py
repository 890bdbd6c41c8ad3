"""ResultsCsv: a row of figures per epoch, on disk before the next one begins."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs, metrics_by_set
from basetrainer.callbacks.line_file import LineFile, put_aside


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
        places = [("train", ""), *(("test", name) for name in test_sets or [""])]
        self._columns = [(*place, name) for name in indicators for place in places]
        self._file = LineFile(path)
        header = ["epoch", *map(_title, self._columns)]
        if _read_header(path) == header:
            return
        put_aside(path)
        self._file.append(_line(header))

    def append(self, epoch: int, logs: Logs) -> None:
        """Write one row; a figure that this epoch lacks is an empty field."""
        figures = [_text(logs, *column) for column in self._columns]
        self._file.append(_line([str(epoch), *figures]))


def rewind_csv(path: Path, epoch: int) -> None:
    """Cut the rows of ``epoch`` and of later ones, which are to be trained again."""
    LineFile(path).rewind(epoch, _epoch_of)


def _epoch_of(line: bytes) -> int | None:
    first = line.partition(b",")[0].strip()
    return int(first) if first.isdigit() else None


def _read_header(path: Path) -> list[str] | None:
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), None)


def _line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue()


def _title(column: tuple[str, str, str]) -> str:
    phase, test_set, name = column
    return f"{phase}-{test_set}/{name}" if test_set else f"{phase}-{name}"


def _text(logs: Logs, phase: str, test_set: str, name: str) -> str:
    value: Any = metrics_by_set(logs.get(phase)).get(test_set, {}).get(name, "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
