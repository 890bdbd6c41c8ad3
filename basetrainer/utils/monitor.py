"""Monitor: which figure is watched, and the best it has been."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from basetrainer._logs import Logs, find_metric
from basetrainer.errors import ConfigError

Mode = Literal["min", "max"]


class Monitor:
    """Watches one figure of ``logs``.

    Args:
        indicator: Its name, or ``SET/NAME`` for one of several test sets; "" watches nothing.
        mode: Whether smaller (``min``) or larger (``max``) is better.

    Raises:
        ConfigError: If ``mode`` is neither.
    """

    def __init__(self, indicator: str, mode: str = "max") -> None:
        if mode not in ("min", "max"):
            raise ConfigError(f"mode: {mode!r} must be 'min' (smaller is better) or 'max'.")
        self.indicator = indicator
        self.mode = mode
        self.best: float | None = None
        self.best_epoch: int | None = None

    def read(self, logs: Logs | None) -> float | None:
        """Return the figure, None if it is not there.

        With test figures only those count: a train figure of the same name must not stand in.
        """
        if not self.indicator:
            return None
        scope: Logs = {"test": logs["test"]} if logs and logs.get("test") else (logs or {})
        return find_metric(scope, self.indicator)

    def is_better(self, figure: float, than: float | None) -> bool:
        """Whether ``figure`` beats ``than``; a tie does not, NaN never does."""
        if math.isnan(figure):
            return False
        if than is None or math.isnan(than):
            return True
        return figure < than if self.mode == "min" else figure > than

    def is_new_best(self, figure: float, epoch: int) -> bool:
        """Remember ``figure`` if it is the best so far, and return whether it is."""
        if not self.is_better(figure, self.best):
            return False
        self.best, self.best_epoch = figure, epoch
        return True

    def note(self, logs: Logs | None, epoch: int) -> dict[str, float]:
        """Remember the figure of ``logs`` if it is the best so far, and return it by its name.

        Nothing is returned if it is not, or if there is no such figure.
        """
        figure = self.read(logs)
        is_new = figure is not None and self.is_new_best(figure, epoch)
        return {self.indicator: figure} if is_new and figure is not None else {}

    def state_dict(self) -> dict[str, float | int | None]:
        """Return the best figure and its epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.best = state["best"]
        epoch = state["best_epoch"]
        self.best_epoch = None if epoch is None else int(epoch)


def deciding_monitor(callbacks: Iterable[object]) -> Monitor | None:
    """Return the monitor that decides which epoch is best: the first that watches a figure."""
    monitors = (getattr(callback, "monitor", None) for callback in callbacks)
    return next((one for one in monitors if isinstance(one, Monitor) and one.indicator), None)
