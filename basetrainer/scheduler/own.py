"""Schedule: a function of one's own, or a scheduler of torch's, as a callback."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.data.placed import length
from basetrainer.errors import ConfigError
from basetrainer.scheduler.torch_schedule import Per, TorchSchedule, checked_per, made, write

_MOST_CHECKED = 10_000
"""So many values of a function are looked at before training starts."""


class Schedule(Callback):
    """Multiplies the learning rate of every group by a plain function of the update or the epoch.

    ::

        Schedule(lambda update: 0.999**update)
        Schedule(lambda epoch: 0.1 if epoch >= 20 else 1.0, per="epoch")
        Schedule.of(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000))

    Updates and epochs count from 0 and from the beginning of the run, so a resumed run has the
    same rates. The function must give the same factor for the same number; it is called for
    numbers ahead, too, before training starts.

    Args:
        function: From the number of the update, or epoch, that is to come to a factor of the
            learning rate that each group was made with.
        per: What it counts.
        optimizer: Whose learning rates are set; None is every optimizer of the run.

    Raises:
        ConfigError: If it is no function; before training, if a factor is negative, NaN,
            infinite or no number.
    """

    shares_state = True

    def __init__(
        self,
        function: Callable[[int], float],
        *,
        per: Per = "update",
        optimizer: Optimizer | None = None,
    ) -> None:
        super().__init__()
        self.per = checked_per(per)
        self.optimizer = optimizer
        if not callable(function):
            raise ConfigError(
                f"Schedule got {function!r}. Give a function of the {per}, such as "
                f"Schedule(lambda {per}: 0.99**{per}); for a scheduler of torch's write "
                f"Schedule.of(scheduler)."
            )
        self._function: Callable[[int], float] = function

    @staticmethod
    def of(
        scheduler: Any,
        *,
        per: Per = "update",
        optimizer: Optimizer | None = None,
        indicator: str = "loss",
        **kwargs: Any,
    ) -> TorchSchedule:
        """Return a scheduler of ``torch.optim.lr_scheduler`` as a callback; resumed exactly.

        Args:
            scheduler: The scheduler, or its class or another function that makes it from an
                optimizer.
            per: When it takes a step: after each update, or at the end of each epoch.
            optimizer: What a class is called with.
            indicator: For ``ReduceLROnPlateau``, which takes its steps per epoch: the metric.
            **kwargs: More for a class.

        Raises:
            ConfigError: If it is no scheduler, or does not take the arguments.
        """
        return TorchSchedule(made(scheduler, optimizer, kwargs), per=per, indicator=indicator)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look at the factors of the whole run."""
        engine = self.engine
        if engine is None:
            return
        steps = engine.config.steps_per_epoch or length(engine.train_loader)
        per_epoch = 1 if self.per == "epoch" else math.ceil(steps / engine.accumulate_steps)
        total = engine.num_epochs * per_epoch
        for number in range(0, total, max(1, total // _MOST_CHECKED)):
            self.factor(number)

    def factor(self, number: int) -> float:
        """Return the factor of an update, or epoch, from 0.

        Raises:
            ConfigError: If it is negative, NaN, infinite or no number.
        """
        value = self._function(number)
        if isinstance(value, Tensor):
            value = value.item() if value.numel() == 1 else math.nan
        try:
            factor = float(value)
        except (TypeError, ValueError):
            factor = math.nan
        if not 0.0 <= factor < math.inf:
            raise ConfigError(
                f"Schedule: the factor of {self.per} {number} is {value!r}. It must be a number, 0 "
                f"or more: mend the function {getattr(self._function, '__name__', '')!r}."
            )
        return factor

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rates of the epoch, or where a run is resumed within it."""
        if self.engine is not None:
            self._set(epoch if self.per == "epoch" else self.engine.position.update)

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Set the learning rates of the next update."""
        if self.per == "update":
            self._set(update)

    def _set(self, number: int) -> None:
        factor = self.factor(number)
        engine = self.engine
        all_optimizers = engine.optimizers if engine is not None else []
        for optimizer in all_optimizers if self.optimizer is None else [self.optimizer]:
            for group in optimizer.param_groups:
                initial = group.setdefault("initial_lr", float(group["lr"]))
                write(group, float(initial) * factor)


def own_schedule(
    given: Any, optimizer: Optimizer, kwargs: dict[str, Any]
) -> Schedule | TorchSchedule:
    """Return the callback for what :func:`get_scheduler` got in the place of a name.

    Args:
        given: A scheduler of torch's, its class, a function that makes it, or one of the update.
        optimizer: Whose learning rates are set.
        kwargs: For the class; ``per`` and ``indicator`` are ours.
    """
    options = {one: kwargs.pop(one) for one in ("per", "indicator") if one in kwargs}
    is_plain = callable(given) and not isinstance(given, type) and not kwargs
    if is_plain and not hasattr(given, "optimizer"):
        plain: Any = given
        return Schedule(plain, optimizer=optimizer, **options)
    return Schedule.of(given, optimizer=optimizer, **options, **kwargs)
