"""The shape of the ``logs`` dict that every hook gets; the only code that knows it."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

Logs: TypeAlias = dict[str, Any]
"""``{"lr": float, "train": Metrics, "test": Metrics}``, and whatever users add."""

Metrics: TypeAlias = dict[str, Any]
"""``{"loss": 0.31}`` or, for several losses, ``{"loss": {"box": 0.2, "total_loss": 0.3}}``.

With several test sets ``logs["test"]`` is a :class:`SetLogs`, ``{"clean": Metrics, ...}``."""

Phase: TypeAlias = Literal["train", "test"]
PHASES: tuple[Phase, ...] = ("train", "test")


class PhaseLogs(Metrics):
    """The figures of one phase, computed when somebody reads them.

    Recorders hand in a *source*, a function that writes its figures into a dict. Nothing is
    computed while nobody looks; whoever reads, by whichever way of reading a dict, gets floats
    that are up to date. A copy is a plain dict; pickled it becomes an ``OrderedDict``, the one dict
    with a name that ``torch.load(weights_only=True)`` takes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sources: dict[Callable[[Metrics], None], None] = {}  # a set that keeps its order

    def add_source(self, source: Callable[[Metrics], None]) -> None:
        """Let ``source(metrics)`` write its figures whenever the dict is read."""
        self._sources[source] = None

    def remove_source(self, source: Callable[[Metrics], None]) -> None:
        """Let ``source`` write no more; what it wrote stays."""
        self._sources.pop(source, None)

    def settle(self) -> None:
        """Bring every figure up to date."""
        # Taken out while they write: a source that reads what others wrote must not recurse.
        sources, self._sources = self._sources, {}
        try:
            for source in sources:
                source(self)
        finally:
            self._sources = {**sources, **self._sources}

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), None, None, iter(self.items())

    def __copy__(self) -> Metrics:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Metrics:
        return copy.deepcopy(dict(self), memo)

    def copy(self) -> Metrics:
        """Return the figures as a plain dict."""
        return dict(self)


def _settled_first(name: str) -> Callable[..., Any]:
    """Return dict's method ``name``, preceded by :meth:`PhaseLogs.settle`."""
    method = getattr(dict, name)

    @functools.wraps(method)
    def read(self: PhaseLogs, *args: Any) -> Any:
        self.settle()
        return method(self, *args)

    return read


# Every way of reading: overriding __getitem__ alone would leave most of these stale.
for _name in (
    *("__getitem__", "get", "keys", "values", "items", "__iter__", "__reversed__", "__len__"),
    *("__contains__", "__eq__", "__ne__", "__repr__", "__or__", "__ror__"),
    *("pop", "popitem", "setdefault"),
):
    setattr(PhaseLogs, _name, _settled_first(_name))


class SetLogs(Metrics):
    """The figures of several test sets: the name of each set, and its ``Metrics``.

    Pickled it becomes an ``OrderedDict``, as :class:`PhaseLogs` does.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), None, None, iter(self.items())

    def __copy__(self) -> SetLogs:
        return SetLogs(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> SetLogs:
        return SetLogs(copy.deepcopy(dict(self), memo))


def metrics_by_set(metrics: Metrics | None) -> dict[str, Metrics]:
    """Return the figures of each test set; those of a single one have the name ""."""
    return dict(metrics) if isinstance(metrics, SetLogs) else {"": metrics or {}}


def phase_metrics(logs: Logs | None, phase: Phase) -> PhaseLogs:
    """Return ``logs[phase]`` as a :class:`PhaseLogs`, made on first use.

    Without logs it is a throwaway one; a plain dict found there is taken over.
    """
    if logs is None:
        return PhaseLogs()
    found = logs.get(phase)
    if not isinstance(found, PhaseLogs):
        found = logs[phase] = PhaseLogs(found or {})
    return found


def find_metric(logs: Logs | None, name: str) -> float | None:
    """Return the figure called ``name``; test figures come before train ones.

    A dict of losses counts as the sum of its entries, those called ``total_*`` left out; an
    entry of such a dict is found by its own name. Of several test sets the first that has the
    figure counts; ``SET/NAME`` asks for that of one set. ``None`` means absent: 0.0 is a value.
    """
    logs = logs or {}
    for phase in ("test", "train"):
        found = _search(logs.get(phase) or {}, name)
        if found is not None:
            return found
    return _search(logs, name)


def _search(metrics: Mapping[str, Any], name: str) -> float | None:
    if name in metrics:
        return _as_figure(metrics[name])
    if isinstance(metrics, SetLogs):
        group, _, rest = name.partition("/")
        if group in metrics:
            return _search(metrics[group], rest)
    for value in metrics.values():
        found = _search(value, name) if isinstance(value, Mapping) else None
        if found is not None:
            return found
    return None


def _as_figure(value: Any) -> float | None:
    if isinstance(value, Mapping):
        parts = [_as_figure(part) for key, part in value.items() if not key.startswith("total_")]
        return sum(part for part in parts if part is not None)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # a list, a text, several elements
        return None
