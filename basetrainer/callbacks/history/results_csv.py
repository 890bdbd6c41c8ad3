"""ResultsCsv: a row of metrics per epoch, on disk before the next one begins."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from basetrainer._logs import Logs, metrics_by_set
from basetrainer._metrics import flat_numbers
from basetrainer.callbacks.history.line_file import LineFile, put_aside


class ResultsCsv:
    """Appends a row per epoch: ``epoch``, then ``train-X`` and ``test-X`` of each metric.

    A part of a dict of metrics has a column ``test-X/PART``; with several test sets there is a
    column ``test-SET/X`` for each of them. A metric that first comes in a later epoch gets its
    columns then, behind the others: the file is written anew, in one go, and the earlier rows are
    empty there.

    A file of an earlier run with the same header is continued; one with another header is moved
    to ``results-1.csv``, ``results-2.csv``, ...

    Args:
        path: The file.
        indicators: Which metrics, in the order of the columns; by default all that come.
        test_sets: The names of the test sets, if there are several.
        is_resumed: Whether the file is that of this run: it is continued whatever its header is.
    """

    def __init__(
        self,
        path: Path,
        indicators: Sequence[str] = (),
        test_sets: Sequence[str] = (),
        *,
        is_resumed: bool = False,
    ) -> None:
        self._indicators = list(indicators)
        self._test_sets = list(test_sets)
        self._is_resumed = is_resumed
        self._file = LineFile(path)
        self._header: list[str] = []

    def append(self, epoch: int, logs: Logs) -> None:
        """Write one row; a metric that this epoch lacks is an empty field."""
        cells = {"epoch": str(epoch), **self._cells(logs)}
        if not self._header:
            self._begin(list(cells))
        new = [column for column in cells if column not in self._header]
        if new:
            self._add_columns(new)
        self._file.append(_line([cells.get(column, "") for column in self._header]))

    def _begin(self, columns: list[str]) -> None:
        """Go on with the file that is there if it fits, else write a header."""
        found = next(csv.reader(io.StringIO(self._file.text())), [])
        if found == columns or (self._is_resumed and found[:1] == ["epoch"]):
            self._header = found
            return
        put_aside(self._file.path)
        self._header = columns
        self._file.append(_line(columns))

    def _add_columns(self, new: list[str]) -> None:
        """Write the file anew with more columns."""
        old, *rows = csv.reader(io.StringIO(self._file.text()))
        cells = [dict(zip(old, row, strict=False)) for row in rows]
        # A column kept free for a metric that turned out to have parts gives way to theirs.
        free = [one for one in old if not any(row.get(one) for row in cells)]
        parents = {one for one in free if any(column.startswith(f"{one}/") for column in new)}
        self._header = [*(one for one in old if one not in parents), *new]
        lines = [self._header, *([row.get(one, "") for one in self._header] for row in cells)]
        self._file.replace("".join(map(_line, lines)))

    def _cells(self, logs: Logs) -> dict[str, str]:
        """Return the fields of an epoch by their columns."""
        rates = {name: value for name, value in logs.items() if name.startswith("lr/")}
        places = [("train-", logs.get("train") or {})]
        tests = metrics_by_set(logs.get("test"))
        sets = dict.fromkeys([*(self._test_sets or [""]), *(one for one in tests if tests[one])])
        places += [(f"test-{one}/" if one else "test-", tests.get(one, {})) for one in sets]
        names = self._indicators or [name for _, metrics in places for name in metrics]
        cells: dict[str, str] = {}
        for name in dict.fromkeys(names):
            found = [(prefix, metrics.get(name)) for prefix, metrics in places]
            has_parts = any(isinstance(value, Mapping) for _, value in found)
            for prefix, value in found:
                numbers = flat_numbers({name: value})
                cells.update({f"{prefix}{one}": _text(number) for one, number in numbers.items()})
                if self._indicators and not numbers and not has_parts:
                    cells[f"{prefix}{name}"] = ""  # as in the 1.0 versions, both phases have one
        return cells | {name: _text(rate) for name, rate in flat_numbers(rates).items()}


def rewind_csv(path: Path, epoch: int) -> None:
    """Cut the rows of ``epoch`` and of later ones, which are to be trained again."""
    LineFile(path).rewind(epoch, _epoch_of)


def _epoch_of(line: bytes) -> int | None:
    first = line.partition(b",")[0].strip()
    return int(first) if first.isdigit() else None


def _line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue()


def _text(number: float) -> str:
    return f"{number:.6g}" if isinstance(number, float) else str(number)
