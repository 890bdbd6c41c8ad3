"""TensorBoard: settings, curves over epochs and updates, and the model's graph of a run."""

from __future__ import annotations

from typing import Any

from basetrainer._logs import Logs, Metrics
from basetrainer.callbacks.history.part import EpochSummary, HistoryPart, HistoryStart
from basetrainer.callbacks.recorder import Recorder
from basetrainer.config.settings import as_mapping
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.engine import Engine


class TensorBoard(HistoryPart):
    """Feeds a :class:`~basetrainer.callbacks.history.event_board.Board`.

    A point over the updates tells of the steps since the last one: a mean over the epoch so far,
    as it stands in ``logs``, would jump wherever an epoch begins. There is one every ``log_freq``
    steps, or ``cfg.log_freq`` if that is more, and one at the end of each epoch; 0 draws none.

    Args:
        start: The board, and how often.
        engine: Who trains.
    """

    def __init__(self, start: HistoryStart, engine: Engine | None) -> None:
        self._board = start.board
        self._indicators = start.indicators
        self._wants_graph = start.graph
        self._every = 0
        if engine is None:
            return
        frequencies = (start.log_freq, engine.config.log_freq)
        self._every = max(frequencies) if min(frequencies) > 0 else 0
        self._last_step = getattr(engine, "num_steps", 0) - 1  # -1: the length is not known
        self._last_update = engine.position.update
        if engine.cfg is not None:
            self._board.add_settings(as_mapping(engine.cfg))
        if start.graph and engine.test_loader is None:
            start.logger.warning("no model graph for TensorBoard: it needs a test batch")

    def on_batch_end(self, engine: Engine | None, batch: int, logs: Logs | None) -> None:
        """Put a point on the curves if one is due."""
        every = self._every
        if not every or ((batch + 1) % every and batch != self._last_step) or engine is None:
            return
        update = engine.position.update
        if update == self._last_update:  # within a window of accumulation
            return
        self._last_update = update
        metrics: Metrics = {}
        for callback in engine.callbacks:
            if isinstance(callback, Recorder):
                metrics.update(callback.recent())
        for name, value in ((logs or {}).get("train") or {}).items():
            metrics.setdefault(name, value)  # what no recorder wrote
        names = self._indicators or metrics
        wanted = {name: metrics[name] for name in names if name in metrics}
        self._board.add_step(update, wanted, engine.lr)

    def on_test_summary(self, engine: Engine, batch: int, inputs: Any, outputs: Any) -> None:
        """Trace the model with the first test batch, if asked to."""
        if self._wants_graph:
            self._wants_graph = False
            first = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
            self._board.add_graph(unwrap(engine.model), first)

    def on_epoch_end(self, engine: Engine | None, summary: EpochSummary) -> None:
        """Write the epoch's metrics."""
        self._board.add_epoch(summary.epoch, summary.logs, self._indicators, summary.new_best)
