"""EarlyStop: end the run when the watched figure no longer improves."""

from __future__ import annotations

import logging
from typing import Any

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.errors import ConfigError
from basetrainer.utils.monitor import Monitor

logger = logging.getLogger(__name__)


class EarlyStop(Callback):
    """Stops after ``patience`` evaluations without a new best.

    Args:
        patience: Evaluations.
        indicator: The figure; by default that of the run's ModelCheckpoint, with its mode.
        mode: ``min`` (smaller is better) or ``max``; by default ModelCheckpoint's where the figure
            is the same, else ``min`` for names with "loss" in them and ``max`` for others.

    Raises:
        ConfigError: If ``patience`` is below 1, or at the start of the run if no figure is named.
    """

    def __init__(
        self, patience: int, indicator: str | None = None, mode: str | None = None
    ) -> None:
        super().__init__()
        if patience < 1:
            raise ConfigError(f"early_stop: {patience} must be at least 1 evaluation.")
        self.patience = patience
        self.num_bad = 0
        self._indicator = indicator
        self._mode = mode
        self.monitor = Monitor(indicator or "", mode or "max")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Find out which figure is watched."""
        engine = self.engine
        savers = (
            [one for one in engine.callbacks if isinstance(one, ModelCheckpoint)] if engine else []
        )
        saver = savers[0].monitor if savers else None
        indicator = self._indicator or (saver.indicator if saver else "")
        if not indicator:
            raise ConfigError(
                "early_stop needs a figure to watch: set early_stop_indicator, or give "
                "ModelCheckpoint an indicator."
            )
        if self._mode is not None:
            mode = self._mode
        elif saver is not None and saver.indicator == indicator:
            mode = saver.mode
        else:
            mode = "min" if "loss" in indicator.lower() else "max"
        if (indicator, mode) != (self.monitor.indicator, self.monitor.mode):
            best = self.monitor.state_dict()  # of the run that goes on, if there is one
            self.monitor = Monitor(indicator, mode)
            self.monitor.load_state_dict(best)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count an evaluation without improvement."""
        engine = self.engine
        if not self.has_figures(logs):
            return
        figure = self.monitor.read(logs)
        if figure is None:
            logger.warning("early_stop: no figure is called %r", self.monitor.indicator)
            return
        self.num_bad = 0 if self.monitor.is_new_best(figure, epoch) else self.num_bad + 1
        if self.num_bad >= self.patience and engine is not None:
            number = epoch_number(self.monitor.best_epoch or 0)
            engine.stop(
                f"{self.monitor.indicator} did not improve in {self.num_bad} evaluations "
                f"(best {self.monitor.best:.4g} in epoch {number})"
                if self.monitor.best is not None
                else f"{self.monitor.indicator} was never a number in {self.num_bad} evaluations"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the best figure and the evaluations since."""
        return {**self.monitor.state_dict(), "num_bad": self.num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.monitor.load_state_dict(state)
        self.num_bad = state["num_bad"]
