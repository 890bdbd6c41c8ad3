"""PlateauLR: lower the learning rate when a figure stops improving; the schedule with a state."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal

from torch.optim import Optimizer

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs, find_metric
from basetrainer._names import did_you_mean
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError
from basetrainer.scheduler import checks
from basetrainer.scheduler.scheduler import LRScheduler
from basetrainer.scheduler.schedules import WARM_UP_START, constant, lowest

logger = logging.getLogger(__name__)


class PlateauLR(LRScheduler):
    """Multiplies the learning rate by ``factor`` after ``patience`` evaluations without progress.

    It counts as torch's ``ReduceLROnPlateau`` does, but only epochs that were evaluated, and none
    of the warm-up. All ranks act on the figure of rank 0.

    Args:
        optimizer: Whose learning rates are set.
        epochs: Epochs of the run.
        num_steps: Batches per epoch of this process.
        lr_init: The learning rate to start with.
        num_warn_up: Epochs of linear warm-up.
        warm_up_start: Factor of the very first update of the warm-up.
        indicator: The figure in ``logs``, test before train.
        inverse: Whether smaller is better; by default so for names with "loss" or "err".
        mode: ``"min"`` or ``"max"``: the same as ``inverse``, in other words.
        factor: What the learning rate is multiplied by, between 0 and 1.
        patience: Evaluations without progress that are put up with.
        threshold: Least relative progress that counts.
        cooldown: Evaluations after a reduction that are not counted.
        lr_min: The learning rate never falls below it.

    Raises:
        ConfigError: If an argument is out of range, or the figure is not in ``logs``.
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
        self.smaller_is_better = _smaller_is_better(indicator, inverse, mode)
        self.reduction = checks.number("factor", factor, above=0.0, high=1.0)
        self.patience = checks.whole("patience", patience, 0, "a number of evaluations")
        self.threshold = checks.number("threshold", threshold, low=0.0)
        self.cooldown = checks.whole("cooldown", cooldown, 0, "a number of evaluations")
        self.lowest = lowest(lr_min, self.lr_init)
        self._scale = 1.0
        self._best = math.inf if self.smaller_is_better else -math.inf
        self._num_bad = 0
        self._cooldown_left = 0

    def factor(self, t: float) -> float:
        """Return the factor of ``lr_init`` at time ``t``, given the figures so far."""
        return super().factor(t) * self._scale

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge the figure of an evaluated epoch."""
        context = getattr(self.engine, "context", None) or DistContext.current()
        # Collective: every rank must get here, and act on what rank 0 has seen.
        evaluated, figure = context.broadcast(
            (self.has_figures(logs), find_metric(logs, self.indicator))
        )
        if not evaluated:
            return
        if figure is None:
            names = _names(logs or {})
            raise ConfigError(
                f"The plateau scheduler watches indicator={self.indicator!r}, which is not in "
                f"logs.{did_you_mean(self.indicator, names)} There are: "
                f"{', '.join(names) or 'no figures'}. Choose one of them, or add the callback that "
                f"records it."
            )
        self.judge(figure, epoch)

    def judge(self, figure: float, epoch: int) -> None:
        """Take note of an evaluation's figure, and lower the learning rate if it is time."""
        margin = self.threshold * abs(self._best) if math.isfinite(self._best) else 0.0
        if self.smaller_is_better:
            is_better = figure < self._best - margin
        else:
            is_better = figure > self._best + margin
        if is_better:
            self._best, self._num_bad = figure, 0
        elif epoch >= self.num_warn_up:
            self._num_bad += 1
        if self._cooldown_left > 0:
            self._cooldown_left -= 1
            self._num_bad = 0
        if self._num_bad > self.patience:
            self._reduce(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what the figures so far have led to."""
        return {
            "scale": self._scale,
            "best": self._best,
            "num_bad": self._num_bad,
            "cooldown_left": self._cooldown_left,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._scale = float(state["scale"])
        self._best = float(state["best"])
        self._num_bad = int(state["num_bad"])
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
                self._best,
                self.patience + 1,
                self.lr_init * self._scale,
                self.lr_init * lower,
            )
        self._scale = lower


def _smaller_is_better(indicator: str, inverse: bool | None, mode: str | None) -> bool:
    """Return the direction of progress, or raise ConfigError if two were given."""
    if mode not in (None, "min", "max"):
        raise ConfigError(f"mode={mode!r} is neither 'min' (smaller is better) nor 'max'.")
    if inverse is not None and mode is not None and inverse != (mode == "min"):
        raise ConfigError(
            f"inverse={inverse!r} and mode={mode!r} contradict each other. Leave one of them out: "
            f"inverse=True is mode='min', smaller is better."
        )
    if mode is not None:
        return mode == "min"
    if inverse is not None:
        return inverse
    return any(word in indicator.lower() for word in ("loss", "err"))


def _names(logs: Mapping[str, Any]) -> list[str]:
    """Return the names of the figures in ``logs``, however deep."""
    found: list[str] = []
    for name, value in logs.items():
        found += [*([] if name in ("test", "train") else [name])]
        if isinstance(value, Mapping):
            found += _names(value)
    return list(dict.fromkeys(found))
