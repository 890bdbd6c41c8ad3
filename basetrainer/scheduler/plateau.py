"""PlateauLR: lower the learning rate when a metric stops improving; the schedule with a state."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

from torch.optim import Optimizer

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer._monitor import Monitor, deciding_monitor
from basetrainer.config.values import as_float, as_int
from basetrainer.distributed.context import DistContext
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.schedules import WARM_UP_START, constant, lowest

logger = logging.getLogger(__name__)


class PlateauLR(LRScheduler):
    """Multiplies the learning rate by ``factor`` after ``patience`` evaluations without progress.

    It counts as torch's ``ReduceLROnPlateau`` does, but only epochs that were evaluated, and none
    of the warm-up. All ranks act on the metric of rank 0.

    Args:
        optimizer: Whose learning rates are set.
        epochs: Epochs of the run.
        num_steps: Batches per epoch of this process.
        lr_init: The learning rate to start with.
        num_warn_up: Epochs of linear warm-up.
        warm_up_start: Factor of the very first update of the warm-up.
        indicator: The metric in ``logs``: of the tests, or of the training without a test loader.
        inverse: The old way to say ``mode``: True is ``min``, False ``max``.
        mode: Whether smaller (``"min"``) or larger (``"max"``) is better; by default what the name
            says, and ``max`` if it says nothing.
        factor: What the learning rate is multiplied by, between 0 and 1.
        patience: Evaluations without progress that are put up with.
        threshold: Least relative progress that counts.
        cooldown: Evaluations after a reduction that are not counted.
        lr_min: The learning rate never falls below it.

    Raises:
        ConfigError: If an argument is out of range, or the metric is not in ``logs``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: int,
        num_steps: int,
        lr_init: float = 0.1,
        num_warn_up: float = 0,
        warm_up_start: float = WARM_UP_START,
        *,
        indicator: str = "loss",
        inverse: bool | None = None,
        mode: Literal["min", "max"] | None = None,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        lr_min: float = 0.0,
    ) -> None:
        super().__init__(
            optimizer,
            constant(),
            lr_init=lr_init,
            num_steps=num_steps,
            num_epochs=epochs,
            num_warn_up=num_warn_up,
            warm_up_start=warm_up_start,
        )
        self.indicator = indicator
        self.reduction = as_float("factor", factor, above=0.0, maximum=1.0)
        self.patience = as_int("patience", patience, minimum=0)
        self.threshold = as_float("threshold", threshold, minimum=0.0)
        self._monitor = Monitor(
            indicator, mode, inverse=inverse, min_delta=self.threshold, is_relative=True
        )
        self.cooldown = as_int("cooldown", cooldown, minimum=0)
        self.lowest = lowest(lr_min, self.lr_init)
        self._scale = 1.0
        self._num_bad = 0
        self._cooldown_left = 0

    @property
    def smaller_is_better(self) -> bool:
        """Whether progress is a smaller value."""
        return self._monitor.mode == "min"

    def attach(self, engine: Engine) -> None:
        """Learn which test sets there are."""
        super().attach(engine)
        self._monitor.know_sets(getattr(engine, "test_loader", None))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Log what is monitored, unless it is what decides which epoch is the best."""
        super().on_train_begin(logs)
        deciding = deciding_monitor(self.engine.callbacks) if self.engine is not None else None
        if self.is_main_process and (deciding is None or not deciding.is_like(self._monitor)):
            logger.info("plateau: monitoring %s", self._monitor)

    def factor(self, t: float) -> float:
        """Return the factor of ``lr_init`` at time ``t``, given the metrics so far."""
        return super().factor(t) * self._scale

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge the metric of an evaluated epoch."""
        context = getattr(self.engine, "context", None) or DistContext.current()
        # Collective: every rank must get here, and act on what rank 0 has seen.
        evaluated, value = context.broadcast((self.has_figures(logs), self._monitor.read(logs)))
        if not evaluated:
            return
        if value is None:
            raise ConfigError(
                f"The plateau scheduler monitors indicator={self.indicator!r}, but "
                f"{self._monitor.why_missing(logs)}. Choose a metric that is there, or add the "
                f"callback that records it."
            )
        self.judge(value, epoch)

    def judge(self, figure: float, epoch: int) -> None:
        """Take note of an evaluation's metric, and lower the learning rate if it is time."""
        if self._monitor.is_new_best(figure, epoch):
            self._num_bad = 0
        elif epoch >= self.num_warn_up:
            self._num_bad += 1
        if self._cooldown_left > 0:
            self._cooldown_left -= 1
            self._num_bad = 0
        if self._num_bad > self.patience:
            self._reduce(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what the metrics so far have led to."""
        return {
            **self._monitor.state_dict(),
            "scale": self._scale,
            "num_bad": self._num_bad,
            "cooldown_left": self._cooldown_left,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._scale = float(state["scale"])
        changed = self._monitor.load_state_dict(state)
        if changed and self.is_main_process:
            logger.warning("plateau: %s", changed)
        self._num_bad = int(state["num_bad"]) if self._monitor.is_of(state) else 0
        self._cooldown_left = int(state["cooldown_left"])
        self._update = -1

    def _reduce(self, epoch: int) -> None:
        self._num_bad, self._cooldown_left = 0, self.cooldown
        lower = max(self._scale * self.reduction, self.lowest)
        if lower < self._scale:
            logger.info(
                "epoch %d: %s has not improved on %.6g for %d evaluations; lr %.3g -> %.3g",
                epoch_number(epoch),
                self.indicator,
                self._monitor.best if self._monitor.best is not None else math.nan,
                self.patience + 1,
                self.lr_init * self._scale,
                self.lr_init * lower,
            )
        self._scale = lower
