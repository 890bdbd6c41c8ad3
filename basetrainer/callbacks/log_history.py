"""LogHistory: tells the run, as log lines, in files and in TensorBoard."""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from basetrainer._logs import PHASES, Logs, Metrics, find_metric, metrics_by_set
from basetrainer.callbacks.board import Board
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.metrics_jsonl import MetricsJsonl
from basetrainer.callbacks.monitor import Monitor
from basetrainer.callbacks.results_csv import ResultsCsv
from basetrainer.callbacks.run_info import write_run_info
from basetrainer.distributed.context import DistContext
from basetrainer.engine.clock import told
from basetrainer.engine.progress import duration
from basetrainer.utils.file_utils import create_dir


class LogHistory(Callback):
    """Tells the run: lines in the log, a row per epoch in two files, curves in TensorBoard.

    On the screen it is one line per epoch, the best so far marked with a star; within an epoch
    the engine's progress bar speaks. The log file also has the old lines: ``logs`` every
    ``log_freq`` steps, ``train epoch:EEE,{...}`` and ``test epoch:EEE,{...}``.
    ``results.csv`` and ``metrics.jsonl`` have a row per epoch, on disk before the next one begins
    (see :class:`MetricsJsonl`); ``run.json`` says what made the run.

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
        self._jsonl: MetricsJsonl | None = None
        self._best: Monitor | None = None
        self._epoch_start = time.monotonic()
        if self.is_main_process:
            create_dir(str(self.log_dir))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Find out which figure decides, to mark the best epochs, and write ``run.json``."""
        for callback in self.engine.callbacks if self.engine is not None else ():
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, Monitor) and monitor.indicator:
                self._best = copy.copy(monitor)
                break
        if self.is_main_process:
            self._jsonl = MetricsJsonl(self.log_dir / "metrics.jsonl")
            engine = self.engine
            facts = (
                {
                    "seed": engine.config.seed,
                    "device": str(engine.device),
                    "processes": engine.context.world_size,
                }
                if engine is not None
                else {}
            )
            write_run_info(self.log_dir / "run.json", **facts)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self._epoch_start = time.monotonic()

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Log what is known so far, every ``log_freq`` steps."""
        if self.log_freq <= 0 or (batch + 1) % self.log_freq or not self.is_main_process:
            return
        if not self.logger.isEnabledFor(logging.INFO):
            return  # nobody listens: read nothing
        line = {name: value for name, value in (logs or {}).items() if name != "test"}
        self.logger.info("%s", _rounded(line), extra={"file_only": True})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Tell the epoch."""
        if not self.is_main_process or logs is None:
            return
        for phase in PHASES:
            if logs.get(phase):
                line = _rounded(logs[phase])
                self.logger.info("%s epoch:%03d,%s", phase, epoch, line, extra={"file_only": True})
        self.logger.info("%s", self._summary(epoch, logs))
        times = self.engine.clock.epoch if self.engine is not None else {}
        if times:
            self.logger.info("time epoch:%03d,%s", epoch, told(times), extra={"file_only": True})
        self.indicators = self.indicators or _figure_names(logs)
        if self._csv is None:
            loader = self.engine.test_loader if self.engine is not None else None
            test_sets = list(loader) if isinstance(loader, Mapping) else []
            self._csv = ResultsCsv(self.log_dir / "results.csv", self.indicators, test_sets)
        self._csv.append(epoch, logs)
        if self._jsonl is not None:
            row = {"time": times, **logs}
            self._jsonl.append(epoch, row, time.monotonic() - self._epoch_start)
        if self._board is None:
            self._board = Board(self.log_dir)
        self._board.add_epoch(epoch, logs, self.indicators)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Tell where the time went, and close the files."""
        engine = self.engine
        if self.is_main_process and engine is not None:
            seconds = engine.clock.measure_run(engine)
            self.logger.info("run took %s: %s", duration(sum(seconds.values())), told(seconds))
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
            told = [
                " ".join([f"{phase} {name}".strip(), *_told(metrics)])
                for name, metrics in metrics_by_set(logs.get(phase)).items()
                if metrics
            ]
            if told:
                parts.append(f"{' | '.join(told)}{self._mark(phase, epoch, logs)}")
        parts.append(f"lr {logs.get('lr', 0.0):.3g}")
        parts.append(f"{time.monotonic() - self._epoch_start:.1f} s")
        return " | ".join(parts)

    def _mark(self, phase: str, epoch: int, logs: Logs) -> str:
        """Return a star behind the figures that decide, when they are the best so far."""
        deciding = "test" if logs.get("test") else "train"
        if self._best is None or phase != deciding or not self.has_figures(logs):
            return ""
        figure = self._best.read(logs)
        return " *" if figure is not None and self._best.is_new_best(figure, epoch) else ""


def _figure_names(logs: Logs) -> list[str]:
    """Return the names of all figures, each once."""
    figures = (one for phase in PHASES for one in metrics_by_set(logs.get(phase)).values())
    return list(dict.fromkeys(name for metrics in figures for name in metrics))


def _told(metrics: Metrics) -> Iterator[str]:
    """Yield each figure with its name; losses of a dict count by their sum."""
    for name in metrics:
        value = find_metric({"train": metrics}, name)
        if value is not None:
            yield f"{name} {value:.4g}"


def _rounded(value: Any) -> Any:
    """Return the figures as plain dicts of numbers with six digits."""
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
