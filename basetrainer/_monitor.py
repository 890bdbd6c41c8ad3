"""Monitor: which metric is monitored, and the best that it has been."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs, find_metric, metrics_by_set
from basetrainer._names import did_you_mean
from basetrainer.utils.metric_mode import Mode, chosen_mode, mode_of


@dataclass(frozen=True)
class Best:
    """The best evaluation of a run so far."""

    metric: str
    """The monitored metric."""

    value: float
    """What it was."""

    epoch: int
    """When, from 0."""

    file: Path | None = None
    """The weights of that epoch; None if none were written, or this process cannot see them."""


class Monitor:
    """Monitors one metric of ``logs``; the one owner of what is better.

    Args:
        indicator: The metric, or ``SET/NAME`` for one of several test sets; "" monitors nothing.
        mode: Whether smaller (``min``) or larger (``max``) is better. By default the name says it
            (see :func:`~basetrainer.utils.metric_mode.mode_of`), and ``max`` if it says nothing.
        inverse: The old way to say ``mode``: True is ``min``, False ``max``.
        min_delta: A change of no more than this is no improvement.
        is_relative: Whether ``min_delta`` is a share of the best value so far.

    Raises:
        ConfigError: If ``mode`` is neither, or contradicts ``inverse``.
    """

    def __init__(
        self,
        indicator: str,
        mode: str | None = None,
        *,
        inverse: bool | None = None,
        min_delta: float = 0.0,
        is_relative: bool = False,
    ) -> None:
        self.indicator = indicator
        self.given_mode: Mode | None = chosen_mode(mode, inverse)
        self.min_delta = min_delta
        self.is_relative = is_relative
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._name = indicator
        self._other: tuple[Any, Any] | None = None  # the metric and mode of a state refused

    @property
    def mode(self) -> Mode:
        """Whether smaller (``min``) or larger (``max``) is better."""
        if self.given_mode is not None:
            return self.given_mode
        known = mode_of(self._name)
        return "max" if known is None else known

    def know_sets(self, test_loader: Any) -> None:
        """Learn which test sets there are: of ``SET/NAME`` only ``NAME`` says what is better."""
        group, _, rest = self.indicator.partition("/")
        is_set = isinstance(test_loader, Mapping) and group in test_loader and bool(rest)
        self._name = rest if is_set else self.indicator

    def __str__(self) -> str:
        smaller = self.mode == "min"
        text = f"{self.indicator}: {'smaller' if smaller else 'larger'} is better"
        if self.given_mode is not None:
            return text
        reversed_by = f"mode={'max' if smaller else 'min'!r} reverses it"
        by_name = ", as its name says" if mode_of(self._name) else ""
        return f"{text}{by_name}; {reversed_by}"

    def is_like(self, other: Monitor) -> bool:
        """Whether both monitor the same metric in the same mode."""
        return (self.indicator, self.mode) == (other.indicator, other.mode)

    def read(self, logs: Logs | None) -> float | None:
        """Return the metric's value, None if there is none.

        With test metrics only those count: a train metric of the same name must not stand in.
        """
        return find_metric(_scope(logs), self.indicator) if self.indicator else None

    def why_missing(self, logs: Logs | None) -> str:
        """Say in a sentence why :meth:`read` has found nothing, and how to fix it."""
        found = dict(_metrics(_scope(logs)))
        for name in (self.indicator, self._name):
            if name in found:
                value = found[name]
                what = "None" if value is None else f"of type {type(value).__name__}"
                return f"the metric {name!r} is {what}, not a number. Write one number to logs."
        known = ", ".join(found) or "none"
        hint = did_you_mean(self.indicator, found)
        return f"no metric is called {self.indicator!r}.{hint} Known: {known}"

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` beats ``than``; a tie does not, NaN never does."""
        if math.isnan(value):
            return False
        if than is None or math.isnan(than):
            return True
        margin = self.min_delta
        if self.is_relative:
            margin *= abs(than) if math.isfinite(than) else 0.0
        return value < than - margin if self.mode == "min" else value > than + margin

    def is_new_best(self, value: float, epoch: int) -> bool:
        """Remember ``value`` if it is the best so far, and return whether it is."""
        if not self.is_better(value, self.best):
            return False
        self.best, self.best_epoch = value, epoch
        return True

    def note(self, logs: Logs | None, epoch: int) -> dict[str, float]:
        """Remember the value in ``logs`` if it is the best so far, and return it by its name.

        Nothing is returned if it is not, or if there is no such metric.
        """
        value = self.read(logs)
        is_new = value is not None and self.is_new_best(value, epoch)
        return {self.indicator: value} if is_new and value is not None else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the metric, its mode, the best value and its epoch."""
        return {
            "indicator": self.indicator,
            "mode": self.mode,
            "best": self.best,
            "best_epoch": self.best_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> str:
        """Take back what :meth:`state_dict` returned.

        The best value of another metric, or in another mode, is not taken: the best begins anew.

        Returns:
            In words that it was not taken, to be said once; "" if it was, or if that is known.
        """
        if self.is_of(state):
            self.best = state["best"]
            epoch = state.get("best_epoch")
            self.best_epoch = None if epoch is None else int(epoch)
            return ""
        self.best = self.best_epoch = None
        of = state["indicator"], state["mode"]
        if self._other == of or state["best"] is None:
            return ""
        self._other = of
        now = Monitor(self.indicator, self.mode)
        return f"the best so far was of {Monitor(*of)}. The best begins anew, with {now}"

    def is_of(self, state: Mapping[str, Any]) -> bool:
        """Whether a state is of this metric and mode; one that does not say, an old one, is."""
        of = state.get("indicator", self.indicator), state.get("mode", self.mode)
        return of == (self.indicator, self.mode)


def monitoring(callbacks: Iterable[object]) -> object | None:
    """Return the callback that decides which epoch is best.

    It is the first that saves the best weights (``ModelCheckpoint``) and monitors a metric; without
    one the first other that has a ``monitor`` (``EarlyStop``).
    """
    found = [one for one in callbacks if _monitor_of(one) is not None]
    return max(found, key=lambda one: bool(getattr(one, "saves_best", False)), default=None)


def deciding_monitor(callbacks: Iterable[object]) -> Monitor | None:
    """Return the monitor of the callback that :func:`monitoring` returns."""
    return _monitor_of(monitoring(callbacks))


def best_of(callbacks: Iterable[object]) -> Best | None:
    """Return the best evaluation so far, by the monitor that decides; None if there is none."""
    callback = monitoring(callbacks)
    monitor = _monitor_of(callback)
    if monitor is None or monitor.best is None or monitor.best_epoch is None:
        return None
    file: Path | None = getattr(callback, "best_model", None)
    seen = file if file is not None and file.is_file() else None
    return Best(monitor.indicator, monitor.best, monitor.best_epoch, seen)


def _monitor_of(callback: object) -> Monitor | None:
    monitor = getattr(callback, "monitor", None)
    return monitor if isinstance(monitor, Monitor) and monitor.indicator else None


def _scope(logs: Logs | None) -> Logs:
    return {"test": logs["test"]} if logs and logs.get("test") else (logs or {})


def _metrics(logs: Logs) -> Iterable[tuple[str, Any]]:
    """Yield each metric in the logs, those of several test sets as ``SET/NAME``."""
    for phase in ("test", "train"):
        for test_set, metrics in metrics_by_set(logs.get(phase)).items():
            for name, value in metrics.items():
                yield f"{test_set}/{name}" if test_set else name, value
                if isinstance(value, Mapping):
                    yield from value.items()
    yield from ((name, value) for name, value in logs.items() if name not in ("test", "train"))
