"""LogHistory: tells the run, as log lines, in files and in TensorBoard."""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basetrainer._epochs import epoch_number
from basetrainer._logs import PHASES, Logs
from basetrainer._metrics import NoNumbers
from basetrainer.callbacks.board import Board
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.epoch_line import epoch_line, rounded
from basetrainer.callbacks.line_file import put_aside
from basetrainer.callbacks.metrics_jsonl import MetricsJsonl
from basetrainer.callbacks.pictures import Pictures, run_folder
from basetrainer.callbacks.results_csv import ResultsCsv, rewind_csv
from basetrainer.callbacks.run_info import write_run_info
from basetrainer.callbacks.step_curves import StepCurves
from basetrainer.config.settings import as_mapping
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.clock import told
from basetrainer.engine.engine import Engine
from basetrainer.engine.progress import duration
from basetrainer.utils.file_utils import create_dir
from basetrainer.utils.log import as_logger, show_unless_heard
from basetrainer.utils.monitor import Monitor, deciding_monitor


class LogHistory(Callback):
    """Tells the run: lines in the log, a row per epoch in two files, TensorBoard, pictures.

    On the screen it is one line per epoch, the best so far marked with a star; within an epoch
    the engine's progress bar speaks. The log file also has the old lines: ``logs`` every
    ``log_freq`` steps, ``train epoch:EEE,{...}`` and ``test epoch:EEE,{...}``.
    ``results.csv`` and ``metrics.jsonl`` have a row per epoch, on disk before the next one begins
    (see :class:`MetricsJsonl`); ``run.json`` says what made the run. TensorBoard has curves over
    epochs and over updates, the settings, and the pictures (see :class:`Board`). ``curves.png`` and
    ``confusion_matrix.png`` are drawn at new bests and at the end (see :class:`Pictures`).

    When a run goes on from a :class:`~basetrainer.engine.position.Position` beyond its start, what
    an earlier process told of the epochs and updates to come is cut from the files, and hidden in
    TensorBoard.

    Args:
        log_dir: Where the files go. Pictures go to ``cfg.work_dir`` if that is its parent.
        log_freq: Steps between two lines within an epoch; 0 means none. The curves over the
            updates have a point every so many steps too, but no more often than ``cfg.log_freq``
            says, and one at the end of each epoch.
        logger: Any object with ``info(text)``, such as a logger of Python's logging or loguru's.
            By default the module's own; its lines are shown on the console where the program has
            not set up logging.
        indicators: Which metrics go to the CSV, to TensorBoard and, beside the monitored one, to
            the line of an epoch; by default all that come.
        is_main_process: False keeps this process from writing; of several only rank 0 ever does.
        pictures: Whether pictures are drawn.
        graph: Whether TensorBoard gets the model's graph, traced with the first test batch.

    Raises:
        ConfigError: If the folder cannot be written.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        log_freq: int = 1,
        logger: Any = None,
        indicators: Sequence[str] | None = None,
        is_main_process: bool = True,
        *,
        pictures: bool = True,
        graph: bool = False,
    ) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self.log_freq = log_freq
        self.logger = as_logger(logger, __name__)
        self.indicators = list(indicators or ())
        self.is_main_process = is_main_process and DistContext.current().is_main
        self._has_pictures = pictures
        self._wants_graph = graph
        self._board: Board | None = None
        self._curves: StepCurves | None = None
        self._csv: ResultsCsv | None = None
        self._no_numbers = NoNumbers()
        self._jsonl: MetricsJsonl | None = None
        self._pictures: Pictures | None = None
        self._best: Monitor | None = None
        self._best_before: dict[str, Any] = {}  # from a state that was loaded
        self._epoch_start = time.monotonic()
        if self.is_main_process:
            create_dir(str(self.log_dir))
            if logger is None:
                show_unless_heard()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the files, where a run goes on at the right place, and write ``run.json``."""
        engine = self.engine
        self._best, self._best_before = self._find_monitor(), {}
        if not self.is_main_process:
            return
        self._jsonl = MetricsJsonl(self.log_dir / "metrics.jsonl")
        if engine is not None:
            self._open(engine, self._jsonl)
            if self._wants_graph and engine.test_loader is None:
                self.logger.warning("no model graph for TensorBoard: it needs a test batch")
        facts = _facts(engine, self._best) if engine is not None else {}
        write_run_info(self.log_dir / "run.json", **facts)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self._epoch_start = time.monotonic()

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """At log points, log what is known so far, and put a point on the curves."""
        if not self.is_main_process:
            return
        if self._curves is not None:
            self._curves.note(batch, logs, self.indicators)
        if self.log_freq <= 0 or (batch + 1) % self.log_freq:
            return
        if not self.logger.isEnabledFor(logging.INFO):
            return  # nobody listens: read nothing
        line = {name: value for name, value in (logs or {}).items() if name != "test"}
        self.logger.info("%s", rounded(line), extra={"file_only": True})

    def on_test_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        batch: int,
        logs: Logs | None = None,
    ) -> None:
        """Keep images for a picture, and trace the model if asked to."""
        engine = self.engine
        if engine is None:
            return
        if self._pictures is not None:
            self._pictures.see(engine, batch, inputs, outputs)
        if self._wants_graph and self._board is not None and self.model is not None:
            self._wants_graph = False
            first = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
            self._board.add_graph(unwrap(self.model), first)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Tell the epoch."""
        if not self.is_main_process or logs is None:
            return
        for phase in PHASES:
            if logs.get(phase):
                line = rounded(logs[phase])
                self.logger.info("%s epoch:%03d,%s", phase, epoch, line, extra={"file_only": True})
                self._no_numbers.look(logs[phase], f"logs[{phase!r}]", self.indicators)
        is_tested = self.has_figures(logs)
        best = self._best.note(logs, epoch) if self._best is not None and is_tested else {}
        seconds = time.monotonic() - self._epoch_start
        line = epoch_line(
            epoch,
            self.engine.num_epochs if self.engine is not None else 0,
            logs,
            seconds,
            is_best=bool(best),
            indicators=self.indicators,
            monitored=self._best.indicator if self._best is not None else "",
        )
        self.logger.info("%s", line)
        times = self.engine.run_clock.epoch if self.engine is not None else {}
        if times:
            self.logger.info("time epoch:%03d,%s", epoch, told(times), extra={"file_only": True})
        if self._csv is None:  # hooks called by hand
            self._csv = self._table(is_resumed=False)
        self._csv.append(epoch, logs)
        if self._jsonl is not None:
            row = {"time": times, **logs}
            self._jsonl.append(epoch, row, time.monotonic() - self._epoch_start)
        if self._board is None:
            self._board = Board(self.log_dir)
        self._board.add_epoch(epoch, logs, self.indicators, best)
        if self._pictures is not None and self.engine is not None and is_tested:
            self._pictures.take(self.engine, epoch, is_best=bool(best))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Tell where the time went, draw the run, and close the files."""
        engine = self.engine
        if self.is_main_process and engine is not None:
            if best := engine.best:
                told_best = best.metric, rounded(best.value), epoch_number(best.epoch)
                self.logger.info("best %s %s, in epoch %d", *told_best)
            seconds = engine.run_clock.measure_run(engine)
            self.logger.info("run took %s: %s", duration(sum(seconds.values())), told(seconds))
        if self._pictures is not None and self._csv is not None:
            self._pictures.draw()
        self._close(has_failed=False)

    def on_exception(self, error: BaseException, logs: Logs | None = None) -> None:
        """Close the files."""
        self._close(has_failed=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the columns and the best figure so far."""
        best = self._best
        return {
            "best": best.state_dict() if best is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._best_before = dict(state["best"] or {})

    def _find_monitor(self) -> Monitor | None:
        """Return a copy of the monitor that decides which epoch is best, as far as it came."""
        found = copy.copy(
            deciding_monitor(self.engine.callbacks if self.engine is not None else ())
        )
        before = self._best_before
        if found is not None and before and found.is_of(before):
            found.load_state_dict(before)
        return found

    def _open(self, engine: Engine, jsonl: MetricsJsonl) -> None:
        """Open what writes; cut what an earlier process told of what is still to come."""
        position = engine.position
        goes_on = bool(position.epoch or position.step or position.update)
        rewinds = goes_on or engine.checkpointer is not None
        if goes_on:
            jsonl.rewind(position.epoch)
            rewind_csv(self.log_dir / "results.csv", position.epoch)
        elif rewinds:  # what lies here was left by a run that was killed before its first save
            for name in ("metrics.jsonl", "results.csv"):
                put_aside(self.log_dir / name)
        elif (self.log_dir / "results.csv").is_file():
            self.logger.warning(
                "%s has the figures of an earlier run, and those of this one follow them. Give "
                "each run a folder of its own (another work_dir, or create_workspace).",
                self.log_dir,
            )
        # An old program sets start_epoch and no update: its updates count from 0 again.
        last_update = position.update if position.update or engine.checkpointer else None
        self._board = Board(self.log_dir, position.epoch if rewinds else None, last_update)
        if engine.cfg is not None:
            self._board.add_settings(as_mapping(engine.cfg))
        self._csv = self._table(is_resumed=goes_on)
        self._curves = StepCurves(self._board, engine, self.log_freq)
        if self._has_pictures:
            folder = run_folder(self.log_dir, engine.cfg)
            had_best = goes_on and self._best is not None and self._best.best is not None
            tell = self._board.add_pictures
            self._pictures = Pictures(self.log_dir, folder, tell, keeps_old=had_best)

    def _table(self, *, is_resumed: bool) -> ResultsCsv:
        path = self.log_dir / "results.csv"
        return ResultsCsv(path, self.indicators, _test_sets(self.engine), is_resumed=is_resumed)

    def _close(self, *, has_failed: bool) -> None:
        self._curves = self._pictures = None
        if self._board is not None:
            self._board.close(has_failed=has_failed)
            self._board = None


def _facts(engine: Engine, monitor: Monitor | None) -> dict[str, Any]:
    """Return what ``run.json`` says of the engine, and what reads ``metrics.jsonl`` must know."""
    return {
        "seed": engine.config.seed,
        "device": str(engine.device),
        "processes": engine.context.world_size,
        "monitor": {"indicator": monitor.indicator, "mode": monitor.mode} if monitor else None,
        "test_sets": _test_sets(engine),
    }


def _test_sets(engine: Engine | None) -> list[str]:
    """Return the names of the test sets, if there are several."""
    loader = engine.test_loader if engine is not None else None
    return list(loader) if isinstance(loader, Mapping) else []
