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


def _settled_first(method: Any) -> Any:
    """Return a method of dict, preceded by :meth:`PhaseLogs.settle` of all it is given."""

    @functools.wraps(method)
    def read(*args: Any) -> Any:
        for one in args:
            if isinstance(one, PhaseLogs):
                one.settle()
        return method(*args)

    return read


_UNREAD = "(not read yet)"
"""The entry that keeps a dict with sources from looking empty to code in C."""


class PhaseLogs(Metrics):
    """The metrics of one phase, computed when somebody reads them.

    Recorders hand in a *source*, a function that writes its metrics into a dict. Nothing is
    computed while nobody looks; whoever reads gets floats that are up to date. Code in C that asks
    a dict for its size and then for its ``items()``, as ``json.dumps`` does, finds it filled; only
    what copies the memory of a dict subclass without calling any of its methods (orjson) needs
    ``dict(logs["train"])``. A copy is a plain dict; pickled it becomes an ``OrderedDict``, the one
    dict with a name that ``torch.load(weights_only=True)`` takes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sources: dict[Callable[[Metrics], None], None] = {}  # a set that keeps its order

    def add_source(self, source: Callable[[Metrics], None]) -> None:
        """Let ``source(metrics)`` write its metrics whenever the dict is read."""
        if not dict.__len__(self):
            self[_UNREAD] = None
        self._sources[source] = None

    def remove_source(self, source: Callable[[Metrics], None]) -> None:
        """Let ``source`` write no more; what it wrote stays."""
        self._sources.pop(source, None)
        if not self._sources:
            dict.pop(self, _UNREAD, None)

    def settle(self) -> None:
        """Bring every metric up to date."""
        dict.pop(self, _UNREAD, None)
        # Taken out while they write: a source that reads what others wrote must not recurse.
        sources, self._sources = self._sources, {}
        try:
            for source in sources:
                source(self)
        finally:
            self._sources = {**sources, **self._sources}

    # Every way of reading: __getitem__ alone would leave most of these stale.
    __getitem__ = _settled_first(dict.__getitem__)
    __delitem__ = _settled_first(dict.__delitem__)
    __contains__ = _settled_first(dict.__contains__)
    __iter__ = _settled_first(dict.__iter__)
    __reversed__ = _settled_first(dict.__reversed__)
    __len__ = _settled_first(dict.__len__)
    __eq__ = _settled_first(dict.__eq__)
    __ne__ = _settled_first(dict.__ne__)
    __repr__ = _settled_first(dict.__repr__)
    __or__ = _settled_first(dict.__or__)
    __ror__ = _settled_first(dict.__ror__)
    __ior__ = _settled_first(dict.__ior__)
    get = _settled_first(dict.get)
    keys = _settled_first(dict.keys)
    values = _settled_first(dict.values)
    items = _settled_first(dict.items)
    pop = _settled_first(dict.pop)
    popitem = _settled_first(dict.popitem)
    setdefault = _settled_first(dict.setdefault)

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), None, None, iter(self.items())

    def __copy__(self) -> Metrics:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Metrics:
        return copy.deepcopy(dict(self), memo)

    def copy(self) -> Metrics:
        """Return the metrics as a plain dict."""
        return dict(self)


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
    """Return the metrics of each test set; those of a single one, or of none, have the name ""."""
    if not isinstance(metrics, SetLogs):
        return {"": metrics or {}}
    sets: dict[str, Metrics] = {name: one for name, one in metrics.items() if isinstance(one, dict)}
    own = {name: one for name, one in metrics.items() if name not in sets}  # a callback's
    return ({"": own} if own else {}) | sets


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
    entry of such a dict is found by its own name, or by ``NAME/ENTRY``. Of several test sets the
    first that has the figure counts; ``SET/NAME`` asks for that of one set. ``None`` means absent:
    0.0 is a value.
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
    group, slash, rest = name.partition("/")
    if slash and isinstance(metrics.get(group), Mapping):
        return _search(metrics[group], rest)
    for value in metrics.values():
        found = _search(value, name) if isinstance(value, Mapping) else None
        if found is not None:
            return found
    return None


def _as_figure(value: Any) -> float | None:
    if isinstance(value, Mapping):
        parts = [
            _as_figure(part) for key, part in value.items() if not str(key).startswith("total_")
        ]
        return sum(part for part in parts if part is not None)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # a list, a text, several elements
        return None
