"""MultiStepValue: a number that changes at milestones, for anything but a learning rate."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from basetrainer.errors import ConfigError
from basetrainer.scheduler import checks


class MultiStepValue:
    """A value per epoch, with a linear rise from 0 in front: a loss weight, a temperature.

    Args:
        epochs: Epochs of the run.
        steps_per_epoch: Steps per epoch.
        milestones: Epochs at which the next value begins, in any order; left as they are.
        val_list: The values, one more than milestones. By default each is a tenth of the one
            before, starting from ``val_init``.
        val_init: The first of the default values, and the end of the rise.
        val_end: The last of the default values; None keeps the computed one.
        num_warn_up: Epochs of the rise.
        decay_rates: The default values over ``val_init``, one more than milestones.

    Raises:
        ConfigError: If the number of values does not fit that of milestones.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        milestones: Sequence[float],
        val_list: Sequence[float] | None = None,
        val_init: float = 0.01,
        val_end: float | None = 0,
        num_warn_up: int = 0,
        decay_rates: Sequence[float] | None = None,
    ) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.milestones = checks.milestones(milestones)
        self.val_init = val_init
        self.warmup = num_warn_up * steps_per_epoch
        self.val_list = list(val_list or self._default_values(val_end, decay_rates))
        if len(self.val_list) != len(self.milestones) + 1:
            raise ConfigError(
                f"{len(self.milestones)} milestones separate {len(self.milestones) + 1} values, "
                f"but {len(self.val_list)} were given: {self.val_list}. Give one more value than "
                f"milestones."
            )
        self.val = val_init

    def step(self, epoch: int, step: int = 0) -> None:
        """Compute the value of ``step`` of ``epoch``; both count from 0."""
        self.set_val(epoch, self.steps_per_epoch * epoch + step)

    def set_val(self, epoch: int, total_step: int) -> None:
        """Compute the value of ``epoch``, ``total_step`` steps after the beginning of the run."""
        if self.warmup and total_step <= self.warmup:
            self.val = self.val_init / self.warmup * total_step
        else:
            self.val = self.val_list[bisect.bisect_right(self.milestones, epoch)]

    def get_val(self) -> float:
        """Return the value computed last."""
        return self.val

    def _default_values(
        self, val_end: float | None, decay_rates: Sequence[float] | None
    ) -> list[float]:
        rates = decay_rates or [0.1**index for index in range(len(self.milestones) + 1)]
        values = [self.val_init * rate for rate in rates]
        if val_end is not None:
            values[-1] = val_end
        return values
