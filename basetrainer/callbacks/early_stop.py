"""EarlyStop: end the run when the monitored metric no longer improves."""

from __future__ import annotations

import logging
from typing import Any

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer._monitor import Monitor, monitoring
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


class EarlyStop(Callback):
    """Stops after ``patience`` evaluations without a new best.

    It never changes which epoch is the best: that is what ModelCheckpoint monitors, and only a run
    without one (or with one that has no indicator) goes by this.

    Args:
        patience: Evaluations.
        indicator: The metric; by default that of the run's first ModelCheckpoint that has one.
        mode: ``min`` (smaller is better) or ``max``; by default ModelCheckpoint's where the metric
            is the same, else what the name says, and ``max`` if it says nothing.
        min_delta: A change of no more than this is no improvement.

    Raises:
        ConfigError: If ``patience`` is below 1 or ``mode`` is neither; at the start of the run if
            no metric is named.
    """

    def __init__(
        self,
        patience: int,
        indicator: str | None = None,
        mode: str | None = None,
        *,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__()
        if patience < 1:
            raise ConfigError(f"early_stop: {patience} must be at least 1 evaluation.")
        self.patience = patience
        self.num_bad = 0
        self._indicator = indicator
        self._mode = mode
        self.monitor = Monitor(indicator or "", mode, min_delta=min_delta)

    def attach(self, engine: Engine) -> None:
        """Find out which metric is monitored, and in which mode."""
        super().attach(engine)
        saver = self._saver()
        indicator = self._indicator or (saver.indicator if saver else "")
        mode = self._mode
        if mode is None and saver is not None and saver.indicator == indicator:
            mode = saver.given_mode
        if (indicator, mode) != (self.monitor.indicator, self.monitor.given_mode):
            self.monitor = Monitor(indicator, mode, min_delta=self.monitor.min_delta)
            self.num_bad = 0
        self.monitor.know_sets(engine.test_loader)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Refuse a run without a metric; log what is monitored if nobody else does."""
        saver, monitor = self._saver(), self.monitor
        if not monitor.indicator:
            raise ConfigError(
                "early_stop needs a metric to monitor: set early_stop_indicator, or give "
                "ModelCheckpoint an indicator."
            )
        if not self.is_main_process or (saver is not None and saver.is_like(monitor)):
            return
        logger.info("early_stop: monitoring %s", monitor)
        if saver is not None and saver.indicator == monitor.indicator:
            logger.warning(
                "early_stop takes %s, but ModelCheckpoint takes %s. Give both the same mode.",
                monitor,
                saver,
            )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count an evaluation without improvement."""
        engine = self.engine
        if not self.has_figures(logs):
            return
        monitor = self.monitor
        value = monitor.read(logs)
        if value is None:
            logger.warning("early_stop: %s", monitor.why_missing(logs))
            return
        self.num_bad = 0 if monitor.is_new_best(value, epoch) else self.num_bad + 1
        if self.num_bad >= self.patience and engine is not None:
            engine.stop(
                f"{monitor.indicator} did not improve in {self.num_bad} evaluations "
                f"(best {monitor.best:.4g} in epoch {epoch_number(monitor.best_epoch)})"
                if monitor.best is not None and monitor.best_epoch is not None
                else f"{monitor.indicator} was never a number in {self.num_bad} evaluations"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the evaluations since."""
        return {**self.monitor.state_dict(), "num_bad": self.num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned; of another metric nothing is taken."""
        changed = self.monitor.load_state_dict(state)
        self.num_bad = state["num_bad"] if self.monitor.is_of(state) else 0
        saver = self._saver()
        if changed and self.is_main_process and (saver is None or not saver.is_like(self.monitor)):
            logger.warning("early_stop: %s", changed)

    def _saver(self) -> Monitor | None:
        """Return the monitor of the run's ModelCheckpoint, if there is one."""
        found = monitoring(self.engine.callbacks) if self.engine is not None else None
        return found.monitor if isinstance(found, ModelCheckpoint) else None
