"""History: the figures of a run over its epochs, read from what it left."""

from __future__ import annotations

import ast
import csv
import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from basetrainer._logs import Logs, SetLogs, find_metric, metrics_by_set
from basetrainer.errors import ConfigError, DataError

Points: TypeAlias = "tuple[list[int], list[float]]"
"""Epochs, and the figure of each; NaN where it was no number."""

FILES = ("metrics.jsonl", "results.csv")
"""What a run's figures are read from, the better first."""

_NO_NUMBER = re.compile(r"-?\b(nan|inf)\b(?=[,}])")
"""As a dict of losses has it in an old table; Python reads no such literal."""

_TENSOR = re.compile(r"tensor\(([^,)]*)[^)]*\)")
"""As old tables have a tensor."""

LEARNING_RATE = "learning rate"
"""The title of the last panel, and the name of its line."""

PART = ": "
"""Stands between the name of a line and that of a part."""


@dataclass
class History:
    """The figures of one run.

    Attributes:
        name: What the run is called.
        rows: For each epoch a dict with ``epoch``, ``train``, ``test`` and ``lr``, in the form of
            ``logs``.
        indicator: The figure that decides which epoch is best; "" if it is not known.
        mode: ``min`` or ``max``: whether smaller or larger is better.
    """

    name: str
    rows: list[Logs] = field(default_factory=list)
    indicator: str = ""
    mode: str = "max"

    def best(self) -> tuple[int, float] | None:
        """Return the best epoch, the earliest of several, and its figure; None if not known."""
        phase = "test" if any(row.get("test") for row in self.rows) else "train"
        sign = -1.0 if self.mode == "min" else 1.0
        found = [
            (row["epoch"], figure)
            for row in self.rows
            if (figure := find_metric({phase: row.get(phase)}, self.indicator)) is not None
            and not math.isnan(figure)
        ]
        return max(found, key=lambda one: (sign * one[1], -one[0]), default=None)

    def panels(self) -> dict[str, dict[str, Points]]:
        """Return each metric's lines by their names: ``train``, ``test`` or ``test SET``.

        A metric with parts, such as a dict of losses or an IoU per class, has a line for each of
        them: ``train: box``. Losses come first, the learning rate last.
        """
        found: dict[str, dict[str, Points]] = {}
        for row in self.rows:
            for phase in ("train", "test"):
                for test_set, metrics in metrics_by_set(row.get(phase)).items():
                    line = f"{phase} {test_set}".strip()
                    for name, value in _numbers(metrics):
                        title, slash, part = name.partition("/")
                        lines = found.setdefault(title, {})
                        name = f"{line}{PART}{part}" if slash else line
                        epochs, values = lines.setdefault(name, ([], []))
                        epochs.append(row["epoch"])
                        values.append(value)
        found = dict(sorted(found.items(), key=lambda one: "loss" not in one[0].lower()))
        rates = [row for row in self.rows if row.get("lr") is not None]
        if rates:
            points = [row["epoch"] for row in rates], [row["lr"] for row in rates]
            found[LEARNING_RATE] = {LEARNING_RATE: points}
        return found


def read_run(run: str | os.PathLike[str]) -> History:
    """Read what a run left.

    Of a folder that several runs have written to, it is the last one.

    Args:
        run: The run's folder, its log folder, or a file ``metrics.jsonl`` or ``results.csv``.

    Raises:
        ConfigError: If there is no such file, or no epoch in it.
        DataError: If the file cannot be read; names file and line.
    """
    path = _figures_file(Path(run))
    info = _run_info(path.with_name("run.json"))
    is_table = path.suffix == ".csv"
    sets = info.get("test_sets") or ()
    rows = list(_csv_rows(path, sets) if is_table else _jsonl_rows(path, sets))
    starts = [
        place for place in range(1, len(rows)) if rows[place]["epoch"] <= rows[place - 1]["epoch"]
    ]
    rows = rows[starts[-1] if starts else 0 :]
    if not rows:
        raise ConfigError(f"{path} has no epoch yet. Wait until the run has finished one.")
    folder = path.resolve().parent
    monitor = info.get("monitor") or {}
    return History(
        folder.parent.name if folder.name == "log" else folder.name,
        rows,
        monitor.get("indicator", ""),
        monitor.get("mode", "max"),
    )


def _figures_file(run: Path) -> Path:
    if run.is_file():
        if run.suffix in (".jsonl", ".csv"):
            return run
        raise ConfigError(
            f"{run} is no file of figures. Give a run's folder, or {' or '.join(FILES)}."
        )
    if not run.exists():
        raise ConfigError(f"There is no run {str(run)!r}.")
    for name in FILES:
        for path in (run / name, run / "log" / name, *sorted(run.glob(f"*/{name}"))):
            if path.is_file():
                return path
    inner = sorted({path.parent.parent for name in FILES for path in run.glob(f"*/log/{name}")})
    hint = f" Did you mean one of its runs, such as {inner[-1]}?" if inner else ""
    raise ConfigError(f"{run} has neither {' nor '.join(FILES)}, so it is no run's folder.{hint}")


def _run_info(path: Path) -> dict[str, Any]:
    """Return what ``run.json`` says; nothing if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _jsonl_rows(path: Path, test_sets: Any) -> Iterator[Logs]:
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], 1):  # a run may be writing the last one
        try:
            row = json.loads(line)
            row["epoch"] = int(row["epoch"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number} is no row of figures: {error}.") from error
        if test_sets and row.get("test"):
            row["test"] = SetLogs(row["test"])
        yield row


def _csv_rows(path: Path, test_sets: Sequence[str]) -> Iterator[Logs]:
    header: list[str] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        for cells in reader:
            if not header or cells[:1] == header[:1]:
                header = cells
                if "epoch" not in header:
                    raise DataError(f"{path} has no column 'epoch' in its first line.")
                continue
            row = dict(zip(header, cells, strict=False))
            try:
                yield _logs_of(row, test_sets or _guessed_sets(header))
            except (ValueError, SyntaxError) as error:
                raise DataError(f"{path}, line {reader.line_num} is no row: {error}.") from error


def _guessed_sets(header: Sequence[str]) -> set[str]:
    """Return what stands before a slash in a table without ``run.json`` and is no metric.

    ``test-clean/loss`` beside ``train-loss`` is the loss of a test set; ``test-IoU/circle`` is a
    part of a metric.
    """
    tests = [one.removeprefix("test-").split("/", 1) for one in header if one.startswith("test-")]
    trained = {one.removeprefix("train-") for one in header if one.startswith("train-")}
    return {one[0] for one in tests if len(one) == 2 and one[1] in trained}


def _logs_of(row: Mapping[str, str], test_sets: Collection[str]) -> Logs:
    """Return a row of the table in the form of ``logs``."""
    logs: Logs = {"epoch": int(row["epoch"]), "train": {}}
    sets: dict[str, dict[str, Any]] = {}
    for column, text in row.items():
        phase, _, name = column.partition("-")
        value = _value_of(text or "")
        if phase not in ("train", "test") or value is None:
            continue
        metrics = logs["train"]
        if phase == "test":
            test_set, slash, rest = name.partition("/")
            is_one_of_several = slash and test_set in test_sets
            metrics = sets.setdefault(test_set if is_one_of_several else "", {})
            name = rest if is_one_of_several else name
        metrics[name] = value
    if sets:
        logs["test"] = sets[""] if list(sets) == [""] else SetLogs({**sets.pop("", {}), **sets})
    return logs


def _value_of(text: str) -> Any:
    """Return the number in a cell, the dict that old tables have there, or None."""
    text = _TENSOR.sub(r"\1", text.strip())
    if text.startswith("{"):
        return ast.literal_eval(_NO_NUMBER.sub("None", text))
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number with its flat name, ``NAME/PART``; null is NaN."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif value is None or isinstance(value, (int, float)):
            yield f"{prefix}{name}", math.nan if value is None else float(value)
