"""Metrics as plain numbers: tensors, numpy scalars, dicts of metrics, and what is no number."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from basetrainer._logs import SetLogs

logger = logging.getLogger(__name__)

Flat = dict[str, "int | float"]
"""Numbers by their flat names: ``{"loss/box": 0.2, "IoU/circle": 11.4}``."""

_LARGEST_INT = 1 << 63


def as_number(value: Any) -> int | float | None:
    """Return a metric as a Python number; None if it is none.

    Numbers are int, float, bool, what numpy, ``decimal`` and ``fractions`` have, and tensors and
    arrays of one element, on any device. Text, lists, complex numbers and larger tensors are not.
    """
    if type(value) is float:
        return value
    if value is None or isinstance(value, (str, bytes, Mapping)):
        return None
    try:
        if hasattr(value, "item"):
            value = value.item()  # of a tensor, an array or a numpy scalar; refuses larger ones
        if isinstance(value, int) and abs(value) < _LARGEST_INT:
            return int(value)  # a bool too
        return float(value) if hasattr(type(value), "__float__") else None
    except Exception:  # whatever a user's object raises: it is no number, and no run ends of it
        return None


def flat_numbers(metrics: Mapping[Any, Any] | None, names: Iterable[str] = ()) -> Flat:
    """Return every number in ``metrics`` by its flat name; a dict of metrics has ``NAME/PART``.

    Args:
        metrics: Metrics, nested to any depth; what is no number is left out.
        names: Which of the top level; all by default.
    """
    wanted = set(names)
    found = _numbers(metrics or {}, "")
    return {name: value for top, name, value in found if not wanted or top in wanted}


def total_of(name: str, value: Any) -> int | float | None:
    """Return the one number that stands for a metric where there is room for one.

    Of a dict of metrics it is ``total_NAME``, or its only entry; None if it has neither: a sum of
    accuracies or IoUs would say nothing.
    """
    if not isinstance(value, Mapping):
        return as_number(value)
    if len(value) == 1:
        ((part, only),) = value.items()
        return total_of(str(part), only)
    return as_number(value.get(f"total_{name}"))


class NoNumbers:
    """Warns of metrics that are no numbers, once for each name."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def look(self, metrics: Mapping[Any, Any], place: str, names: Collection[str] = ()) -> None:
        """Warn of what :func:`flat_numbers` leaves out.

        Args:
            metrics: Nested to any depth.
            place: Where they are, such as ``logs['test']``.
            names: Which of the top level; all by default.
        """
        for name, value in metrics.items():
            where = f"{place}[{name!r}]"
            if names and name not in names and not isinstance(metrics, SetLogs):
                continue
            if isinstance(value, Mapping):
                self.look(value, where, names if isinstance(metrics, SetLogs) else ())
            elif value is not None and as_number(value) is None and where not in self._named:
                self._named.add(where)
                logger.warning(
                    "%s is %s, not a number: it is left out of results.csv, TensorBoard, the "
                    "curves and the screen. Write a number, or remove it from logs.",
                    where,
                    _described(value),
                )


def _numbers(
    metrics: Mapping[Any, Any], prefix: str, top: str = ""
) -> Iterator[tuple[str, str, int | float]]:
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}/", top or name)
        elif (number := as_number(value)) is not None:
            yield top or name, name, number


def _described(value: Any) -> str:
    """Return a type, and a shape if there is one."""
    shape = getattr(value, "shape", None)
    shown = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else ""
    return f"of type {type(value).__name__}{shown}"
