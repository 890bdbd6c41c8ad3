"""StepCurves: training figures over the updates, one point per log point."""

from __future__ import annotations

import weakref

from basetrainer._logs import Logs, Metrics
from basetrainer.callbacks.board import Board
from basetrainer.callbacks.recorder import Recorder
from basetrainer.engine.engine import Engine


class StepCurves:
    """Puts a point on the curves every so many steps, and at the end of each epoch.

    A point tells of the steps since the last one: a mean over the epoch so far, as it stands in
    ``logs``, would jump wherever an epoch begins. Between two points a step costs a division.

    Args:
        board: Where the curves are.
        engine: Who trains.
        log_freq: Steps between two points; ``cfg.log_freq`` if that is more. 0 draws none.
    """

    def __init__(self, board: Board, engine: Engine, log_freq: int) -> None:
        self._board = board
        self._owner = weakref.ref(engine)  # a callback holds this
        frequencies = (log_freq, engine.config.log_freq)
        self._every = max(frequencies) if min(frequencies) > 0 else 0
        self._last_step = getattr(engine, "num_steps", 0) - 1  # -1: the length is not known
        self._last_update = engine.position.update

    def note(self, step: int, logs: Logs | None, indicators: list[str]) -> None:
        """Put a point if one is due.

        Args:
            step: The batch within the epoch that is done.
            logs: The run's logs.
            indicators: Which figures; all if there is none.
        """
        every = self._every
        if not every or ((step + 1) % every and step != self._last_step):
            return
        engine = self._owner()
        if engine is None:
            return
        update = engine.position.update
        if update == self._last_update:  # within a window of accumulation
            return
        self._last_update = update
        figures: Metrics = {}
        for callback in engine.callbacks:
            if isinstance(callback, Recorder):
                figures.update(callback.recent())
        for name, value in ((logs or {}).get("train") or {}).items():
            figures.setdefault(name, value)  # what no recorder wrote
        wanted = {name: figures[name] for name in indicators or figures if name in figures}
        self._board.add_step(update, wanted, engine.lr)
