"""LogHistory: tells the run, as log lines, in files and in TensorBoard."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from basetrainer._logs import Logs
from basetrainer._monitor import Monitor, deciding_monitor
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.history.epoch_tables import EpochTables
from basetrainer.callbacks.history.event_board import Board
from basetrainer.callbacks.history.log_lines import LogLines
from basetrainer.callbacks.history.part import EpochSummary, HistoryPart, HistoryStart
from basetrainer.callbacks.history.pictures import Pictures
from basetrainer.callbacks.history.run_info import write_run_info
from basetrainer.callbacks.history.tensorboard import TensorBoard
from basetrainer.distributed.context import DistContext
from basetrainer.engine.engine import Engine
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.utils.file_utils import create_dir
from basetrainer.utils.log import as_logger, show_unless_heard

MakePart: TypeAlias = Callable[[HistoryStart, Engine | None], HistoryPart]
"""What makes a part when a run begins: its class."""


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
        pictures: Whether pictures are drawn; or what draws other ones: a class derived from
            :class:`~basetrainer.callbacks.history.part.HistoryPart`.
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
        pictures: bool | MakePart = True,
        graph: bool = False,
    ) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self.log_freq = log_freq
        self.logger = as_logger(logger, __name__)
        self.indicators = list(indicators or ())
        self.is_main_process = is_main_process and DistContext.current().is_main
        self._make_parts: list[MakePart] = [LogLines, EpochTables, TensorBoard]
        if pictures:
            self._make_parts.append(Pictures if pictures is True else pictures)
        self._graph = graph
        self._board: Board | None = None
        self._parts: list[HistoryPart] = []
        self._at_batches: list[HistoryPart] = []  # the parts that have something to do there
        self._best: Monitor | None = None
        self._best_before: dict[str, Any] = {}  # from a state that was loaded
        self._epoch_start = time.monotonic()
        if self.is_main_process:
            create_dir(str(self.log_dir))
            if logger is None:
                show_unless_heard()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Make the parts, which open their files, and write ``run.json``."""
        engine = self.engine
        self._best, self._best_before = self._find_monitor(), {}
        if self.is_main_process:
            self._open(engine)
            facts = _facts(engine, self._best) if engine is not None else {}
            write_run_info(self.log_dir / "run.json", **facts)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self._epoch_start = time.monotonic()

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Pass it on."""
        engine = self.engine
        for part in self._at_batches:
            part.on_batch_end(engine, batch, logs)

    def on_test_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        batch: int,
        logs: Logs | None = None,
    ) -> None:
        """Pass it on."""
        engine = self.engine
        if engine is not None:
            for part in self._parts:
                part.on_test_summary(engine, batch, inputs, outputs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Find out whether the epoch is the best so far, and pass it on."""
        if not self.is_main_process or logs is None:
            return
        if not self._parts:  # hooks called by hand
            self._open(None)
        is_tested = self.has_figures(logs)
        best = self._best
        summary = EpochSummary(
            epoch,
            logs,
            time.monotonic() - self._epoch_start,
            is_tested,
            best.indicator if best is not None else "",
            best.note(logs, epoch) if best is not None and is_tested else {},
        )
        engine = self.engine
        for part in self._parts:
            part.on_epoch_end(engine, summary)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Pass it on, and close the files."""
        engine = self.engine
        for part in self._parts:
            part.on_train_end(engine)
        self._close(has_failed=False)

    def on_exception(self, error: BaseException, logs: Logs | None = None) -> None:
        """Close the files."""
        self._close(has_failed=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value of the monitored metric so far."""
        return {"best": self._best.state_dict() if self._best is not None else None}

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

    def _open(self, engine: Engine | None) -> None:
        """Make the parts; what an earlier process told of what is still to come is cut."""
        is_resumed = is_restarted = False
        first_epoch = last_update = None
        if engine is not None:
            position = engine.position
            is_resumed = bool(position.epoch or position.step or position.update)
            is_restarted = not is_resumed and engine.checkpointer is not None
            # An old program sets start_epoch and no update: its updates count from 0 again.
            last_update = position.update if position.update or engine.checkpointer else None
            first_epoch = position.epoch if is_resumed or is_restarted else None
        self._board = Board(self.log_dir, first_epoch, last_update)
        start = HistoryStart(
            self.log_dir,
            self.log_freq,
            self.indicators,
            self.logger,
            self._board,
            graph=self._graph,
            epoch=first_epoch or 0,
            is_resumed=is_resumed,
            is_restarted=is_restarted,
            has_best=is_resumed and self._best is not None and self._best.best is not None,
        )
        self._parts = parts = [make(start, engine) for make in self._make_parts]
        idle = HistoryPart.on_batch_end
        self._at_batches = [one for one in parts if type(one).on_batch_end is not idle]

    def _close(self, *, has_failed: bool) -> None:
        self._parts, self._at_batches = [], []
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
        "test_sets": [name for name in named_test_sets(engine.test_loader) if name],
    }
