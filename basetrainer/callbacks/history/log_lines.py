"""LogLines: what the log and the screen tell of a run."""

from __future__ import annotations

import logging

from basetrainer._epochs import epoch_number
from basetrainer._logs import PHASES, Logs
from basetrainer._metrics import NoNumbers
from basetrainer.callbacks.history.epoch_line import epoch_line, rounded
from basetrainer.callbacks.history.part import EpochSummary, HistoryPart, HistoryStart
from basetrainer.engine.engine import Engine
from basetrainer.engine.progress.clock import told
from basetrainer.engine.progress.progress import duration


class LogLines(HistoryPart):
    """Logs a line per epoch; into the log file the old lines too, every ``log_freq`` steps.

    Args:
        start: Which logger, and how often.
        engine: Who trains.
    """

    def __init__(self, start: HistoryStart, engine: Engine | None) -> None:
        self._logger = start.logger
        self._log_freq = start.log_freq
        self._indicators = start.indicators
        self._no_numbers = NoNumbers()

    def on_batch_end(self, engine: Engine | None, batch: int, logs: Logs | None) -> None:
        """At log points, log what is known so far."""
        if self._log_freq <= 0 or (batch + 1) % self._log_freq:
            return
        if not self._logger.isEnabledFor(logging.INFO):
            return  # nobody listens: read nothing
        line = {name: value for name, value in (logs or {}).items() if name != "test"}
        self._logger.info("%s", rounded(line), extra={"file_only": True})

    def on_epoch_end(self, engine: Engine | None, summary: EpochSummary) -> None:
        """Log the metrics of each phase, the line of the epoch, and where its time went."""
        epoch, logs = summary.epoch, summary.logs
        for phase in PHASES:
            if logs.get(phase):
                line = rounded(logs[phase])
                self._logger.info("%s epoch:%03d,%s", phase, epoch, line, extra={"file_only": True})
                self._no_numbers.look(logs[phase], f"logs[{phase!r}]", self._indicators)
        line = epoch_line(
            epoch,
            engine.num_epochs if engine is not None else 0,
            logs,
            summary.seconds,
            is_best=bool(summary.new_best),
            indicators=self._indicators,
            monitored=summary.monitored,
        )
        self._logger.info("%s", line)
        if engine is not None and (times := engine.run_clock.epoch):
            self._logger.info("time epoch:%03d,%s", epoch, told(times), extra={"file_only": True})

    def on_train_end(self, engine: Engine | None) -> None:
        """Log which epoch was best, and where the time went."""
        if engine is None:
            return
        if best := engine.best:
            told_best = best.metric, rounded(best.value), epoch_number(best.epoch)
            self._logger.info("best %s %s, in epoch %d", *told_best)
        seconds = engine.run_clock.measure_run(engine)
        self._logger.info("run took %s: %s", duration(sum(seconds.values())), told(seconds))
