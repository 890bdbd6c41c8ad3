"""LogHistory: tells the run, as log lines, in results.csv and in TensorBoard."""

from __future__ import annotations

import copy
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs, find_metric
from basetrainer.callbacks.board import Board
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.monitor import Monitor
from basetrainer.callbacks.results_csv import ResultsCsv
from basetrainer.distributed.context import DistContext
from basetrainer.utils.file_utils import create_dir

_SECONDS_BETWEEN_LINES = 10.0
PHASES = ("train", "test")


class LogHistory(Callback):
    """Tells the run: lines in the log, a row per epoch in ``results.csv``, curves in TensorBoard.

    On the screen it is one line per epoch (within an epoch one every ten seconds, where no
    progress bar is shown). The log file also has the old lines: ``logs`` every ``log_freq``
    steps, ``train epoch:EEE,{...}`` and ``test epoch:EEE,{...}``.

    Args:
        log_dir: Where the files go.
        log_freq: Steps between two lines within an epoch; 0 means none.
        logger: By default the module's own logger.
        indicators: Which figures go to the CSV and TensorBoard; by default all that the first
            epoch has.
        is_main_process: False keeps this process from writing; of several only rank 0 ever does.

    Raises:
        ConfigError: If the folder cannot be written.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        log_freq: int = 1,
        logger: logging.Logger | None = None,
        indicators: Sequence[str] | None = None,
        is_main_process: bool = True,
    ) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self.log_freq = log_freq
        self.logger = logger or logging.getLogger(__name__)
        self.indicators = list(indicators or ())
        self.is_main_process = is_main_process and DistContext.current().is_main
        self._board: Board | None = None
        self._csv: ResultsCsv | None = None
        self._best: Monitor | None = None
        self._epoch_start = self._last_line = time.monotonic()
        if self.is_main_process:
            create_dir(str(self.log_dir))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Find out which figure decides, to mark the best epochs."""
        for callback in self.engine.callbacks if self.engine is not None else ():
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, Monitor) and monitor.indicator:
                self._best = copy.copy(monitor)
                break

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self._epoch_start = self._last_line = time.monotonic()

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Log what is known so far, every ``log_freq`` steps."""
        if self.log_freq <= 0 or (batch + 1) % self.log_freq or not self.is_main_process:
            return
        now = time.monotonic()
        is_shown = now - self._last_line > _SECONDS_BETWEEN_LINES and not self._has_bar()
        if is_shown:
            self._last_line = now
        line = {name: value for name, value in (logs or {}).items() if name != "test"}
        self.logger.info("%s", _rounded(line), extra={"file_only": not is_shown})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Tell the epoch."""
        if not self.is_main_process or logs is None:
            return
        for phase in PHASES:
            if logs.get(phase):
                line = _rounded(logs[phase])
                self.logger.info("%s epoch:%03d,%s", phase, epoch, line, extra={"file_only": True})
        self.logger.info("%s", self._summary(epoch, logs))
        names = self.indicators or [name for phase in PHASES for name in logs.get(phase) or ()]
        self.indicators = list(dict.fromkeys(names))
        if self._csv is None:
            self._csv = ResultsCsv(self.log_dir / "results.csv", self.indicators)
        self._csv.append(epoch, logs)
        if self._board is None:
            self._board = Board(self.log_dir)
        self._board.add_epoch(epoch, logs, self.indicators)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def on_exception(self, error: BaseException, logs: Logs | None = None) -> None:
        """Close the files."""
        self.on_train_end(logs)

    def _summary(self, epoch: int, logs: Logs) -> str:
        """Return the epoch's one line."""
        num_epochs = self.engine.num_epochs if self.engine is not None else 0
        parts = [f"epoch {epoch + 1:>{len(str(num_epochs))}}/{num_epochs}"]
        for phase in PHASES:
            figures = [
                f"{name} {value:.4g}"
                for name in logs.get(phase) or ()
                if (value := find_metric({phase: logs[phase]}, name)) is not None
            ]
            if figures:
                parts.append(f"{phase} {' '.join(figures)}{self._mark(phase, epoch, logs)}")
        parts.append(f"lr {logs.get('lr', 0.0):.3g}")
        parts.append(f"{time.monotonic() - self._epoch_start:.1f} s")
        return " | ".join(parts)

    def _mark(self, phase: str, epoch: int, logs: Logs) -> str:
        """Return a star behind the figures that decide, when they are the best so far."""
        has_tests = bool(logs.get("test"))
        if self._best is None or phase != ("test" if has_tests else "train"):
            return ""
        if not has_tests and self.engine is not None and self.engine.test_loader is not None:
            return ""
        figure = self._best.read(logs)
        return " *" if figure is not None and self._best.is_new_best(figure, epoch) else ""

    def _has_bar(self) -> bool:
        return self.engine is not None and self.engine.progress and sys.stderr.isatty()


def _rounded(value: Any) -> Any:
    """Return the figures as plain dicts of numbers with six digits."""
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
