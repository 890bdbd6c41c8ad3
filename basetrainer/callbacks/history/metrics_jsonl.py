"""MetricsJsonl: one JSON object per epoch, for programs that read what a run did."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from basetrainer._logs import Logs
from basetrainer._metrics import as_number
from basetrainer.callbacks.history.line_file import LineFile


class MetricsJsonl:
    """Appends a line per epoch: ``epoch``, ``seconds``, ``time``, and all that is in the logs.

    ``time`` has the seconds by part, see :class:`~basetrainer.engine.progress.clock.Clock`.

    The lines are strict JSON, which has no NaN: NaN and the infinities are written as null. A
    file of an earlier run is continued.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def append(self, epoch: int, logs: Logs, seconds: float) -> None:
        """Write one line; it is in the file when this returns."""
        row = {"epoch": epoch, "seconds": round(seconds, 3), **json_value(logs)}
        self._file.append(json.dumps(row, allow_nan=False) + "\n")

    def rewind(self, epoch: int) -> None:
        """Cut the lines of ``epoch`` and of later ones, which are to be trained again."""
        self._file.rewind(epoch, _epoch_of)


def _epoch_of(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return None


def json_value(value: Any) -> Any:
    """Return metrics as what strict JSON has: finite numbers, text, lists, objects, null."""
    if isinstance(value, Mapping):
        return {str(name): json_value(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(one) for one in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = as_number(value)
    if number is not None:
        return number if math.isfinite(number) else None
    if hasattr(value, "tolist"):  # a tensor or an array that a user's callback has put there
        with contextlib.suppress(Exception):  # sparse, or whatever a user's object raises
            return json_value((value.detach() if isinstance(value, Tensor) else value).tolist())
    return str(value)
