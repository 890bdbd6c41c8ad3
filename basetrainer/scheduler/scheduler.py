"""LRScheduler: the callback that writes a schedule into an optimizer's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.config.values import as_float, as_int
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError
from basetrainer.optimizer.ratios import ratios
from basetrainer.scheduler import checks
from basetrainer.scheduler.schedules import WARM_UP_START, Schedule, warmed_up


class LRScheduler(Callback):
    """Applies a schedule: ``lr = lr_init * ratio of the group * factor(time)``.

    The time counts optimizer updates, not batches: ``epoch + update / updates_per_epoch``. With
    ``accumulate_steps`` micro-batches to an update, several batches share a learning rate, and the
    curve is the same however a global batch is split. Updates that are left out
    (``on_nonfinite: skip``, a gradient scaler) do not count within their epoch. There is no state:
    after a resume the same position gives the same learning rate.

    Parameter groups keep their ratios. A group's ratio is its initial learning rate over that
    which the optimizer was made with (or the largest one, if no group has that).

    In a loop of your own call :meth:`step` before each batch, or ``on_epoch_begin(epoch)`` and
    ``on_batch_end(step)`` where an engine would.

    Args:
        optimizer: Whose learning rates are set.
        schedule: From the time in epochs to a factor, without warm-up.
        lr_init: The learning rate at factor 1.
        num_steps: Batches per epoch of this process.
        num_epochs: Epochs of the run; None if that is not known.
        num_warn_up: Epochs, or parts of one, over which the learning rate rises linearly, update by
            update, to the schedule.
        warm_up_start: Factor of the very first update of the warm-up, from 0 to 1.

    Raises:
        ConfigError: If a number is out of range, or the warm-up longer than the run.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        lr_init: float,
        num_steps: int,
        num_epochs: int | None = None,
        num_warn_up: float = 0,
        warm_up_start: float = WARM_UP_START,
    ) -> None:
        super().__init__()
        if not hasattr(optimizer, "param_groups"):
            raise ConfigError(
                f"optimizer is a {type(optimizer).__name__}, which has no parameter groups. Pass "
                f"the optimizer itself; several optimizers need a scheduler each."
            )
        if num_epochs is None:
            num_warn_up = as_float("num_warn_up", num_warn_up, minimum=0.0)
        else:
            num_epochs, num_warn_up = checks.span(num_epochs, num_warn_up)
        self.optimizer = optimizer
        self.lr_init = as_float("lr_init", lr_init, above=0.0)
        self.num_steps = as_int("num_steps", num_steps, minimum=1)
        self.num_epochs = num_epochs
        self.num_warn_up = num_warn_up
        self.schedule = warmed_up(schedule, self.num_warn_up, warm_up_start)
        self.epoch = 0
        self._update = -1  # within the epoch; the one whose learning rate is written
        self._ready_for = -1  # the batch whose learning rate is written
        self._hears_batches = False  # whether the loop calls the hooks of the running batch
        self._accumulate = 1
        self._updates = self.num_steps  # per epoch
        self._groups: list[dict[str, Any]] = []
        self._bases: list[float] = []

    remake: Callable[[int], LRScheduler] | None = None
    """Makes the scheduler for so many batches per update, where its schedule depends on that."""

    def attach(self, engine: Engine) -> None:
        """Learn how many batches an update has."""
        super().attach(engine)
        if self.remake is not None and engine.accumulate_steps > 1:
            made, self.remake = self.remake(engine.accumulate_steps), None
            self.schedule, self.num_warn_up = made.schedule, made.num_warn_up

    def factor(self, t: float) -> float:
        """Return the factor of ``lr_init`` at time ``t``, in epochs; warm-up included."""
        return self.schedule(t)

    def lr_at(self, epoch: int, step: int = 0) -> float:
        """Return the learning rate of batch ``step`` of ``epoch``, for a group of ratio 1."""
        self._count_updates()
        update = min(step // self._accumulate, self._updates - 1)
        return self.lr_init * self.factor(epoch + update / self._updates)

    def step(self, epoch: int = 0, step: int = 0) -> None:
        """Set the learning rate that batch ``step`` of ``epoch`` trains with; both from 0."""
        self._count_updates()
        if epoch != self.epoch:
            self.epoch, self._update = epoch, -1
        self._set_lr(step)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate of the epoch's first update, or where a run goes on within it."""
        self._update = -1  # whatever was done to it between two epochs, it is written again
        first = self._position[0] if getattr(self.engine, "epoch", -1) == epoch else 0
        self.step(epoch, first)
        self._ready_for = first

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """See to it that a run which goes on in the middle of an epoch starts right there."""
        self._hears_batches = True
        batch = self._number(batch)
        if batch != self._ready_for or self.optimizer.param_groups is not self._groups:
            self._set_lr(batch)

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Set the learning rate of the next update in a loop that calls no hooks of a batch."""
        if self.engine is not None and not self._hears_batches:
            self._set_lr(self._position[0] + 1)
        self._hears_batches = False

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Set the learning rate of the next batch."""
        self._ready_for = self._number(batch) + 1
        self._set_lr(self._ready_for)

    @property
    def accumulate_steps(self) -> int:
        """Batches per update, from the engine; 1 without one."""
        return getattr(self.engine, "accumulate_steps", 1)

    def _number(self, batch: int) -> int:
        """Return the running batch, however the loop that calls the hooks counts."""
        return self._position[0] if getattr(self.engine, "is_counting", False) else batch

    @property
    def _position(self) -> tuple[int, int]:
        """The batch within the epoch, and the updates that were left out in it."""
        position = getattr(self.engine, "position", None)
        return (0, 0) if position is None else (position.step, position.skipped)

    def _count_updates(self) -> None:
        self._accumulate = self.accumulate_steps
        self._updates = math.ceil(self.num_steps / self._accumulate)

    def _set_lr(self, step: int) -> None:
        """Write the learning rate of batch ``step``, unless it is that of the batch before."""
        # An epoch with more batches than announced stays at its last update's learning rate.
        due = max(step // self._accumulate - self._position[1], 0)
        update = min(due, self._updates - 1)
        groups = self.optimizer.param_groups
        # load_state_dict makes new groups: what was written there is gone.
        if update == self._update and groups is self._groups:
            return
        if groups is not self._groups or len(groups) != len(self._bases):
            self._groups = groups
            self._bases = [self.lr_init * ratio for ratio in ratios(self.optimizer)]
        factor = self.factor(self.epoch + update / self._updates)
        self._update = update
        for group, base in zip(groups, self._bases, strict=True):
            lr = group["lr"]
            if isinstance(lr, Tensor):
                lr.fill_(base * factor)  # a captured or compiled step reads this very tensor
            else:
                group["lr"] = base * factor
