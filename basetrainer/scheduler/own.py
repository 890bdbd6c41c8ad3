"""Schedule: a function of one's own, or a scheduler of torch's, as a callback."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from basetrainer._logs import Logs
from basetrainer._names import did_you_mean
from basetrainer.callbacks.callbacks import Callback
from basetrainer.data.placed import length
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

Per = Literal["update", "epoch"]

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
        self.per = _checked_per(per)
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
                _write(group, float(initial) * factor)


class TorchSchedule(Callback):
    """Steps a scheduler of torch's; :meth:`Schedule.of` makes it.

    Groups that :class:`~basetrainer.callbacks.unfreeze.Unfreeze` adds are hidden from it; they have
    ``lr_scale`` times the learning rate of the first group.

    Args:
        scheduler: The scheduler.
        per: When it takes a step.
        indicator: The metric for ``ReduceLROnPlateau``.

    Raises:
        ConfigError: If it is no scheduler; in training, if a learning rate is negative or NaN, or
            there is no such metric.
    """

    shares_state = True

    def __init__(self, scheduler: Any, *, per: Per = "update", indicator: str = "loss") -> None:
        super().__init__()
        self.scheduler = scheduler
        self._needs_metric = type(scheduler).__name__ == "ReduceLROnPlateau"
        self.per: Per = "epoch" if self._needs_metric else _checked_per(per)
        self.indicator = indicator
        self.optimizer: Optimizer = scheduler.optimizer
        self._rates = self._own_rates()

    def attach(self, engine: Engine) -> None:
        """Refuse a scheduler of an optimizer that is not trained."""
        super().attach(engine)
        if engine.optimizers and not any(one is self.optimizer for one in engine.optimizers):
            raise ConfigError(
                f"Schedule: the {type(self.scheduler).__name__} belongs to another optimizer than "
                f"the run's. Make it in build_callbacks, with self.optimizer."
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the learning rates: those of a checkpoint may be another setting's."""
        self._write_rates(epoch)

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Set the learning rates of the next update."""
        if self.per == "update":
            self._step()
            self._write_rates(update)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rates of the next epoch."""
        if self.per != "epoch":
            return
        if not self._needs_metric:
            self._step()
        elif self.has_figures(logs):
            self._step(self._metric(logs or {}))
        self._write_rates(epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state and the learning rates of the update to come."""
        state: dict[str, Any] = _plain(self.scheduler.state_dict())
        return {"scheduler": state, "rates": list(self._rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        own = self.scheduler.state_dict()
        self.scheduler.load_state_dict(_like(own, state["scheduler"]))
        self._rates = list(state["rates"])

    def _metric(self, logs: Logs) -> float:
        from basetrainer.utils.monitor import Monitor

        monitor = Monitor(self.indicator)
        if self.engine is not None:
            monitor.know_sets(self.engine.test_loader)
        value = monitor.read(logs)
        if self.engine is not None:  # collective: all act on what rank 0 has seen
            value = self.engine.context.broadcast(value)
        if value is None:
            raise ConfigError(
                f"Schedule.of(ReduceLROnPlateau) reads indicator={self.indicator!r}, but "
                f"{monitor.why_missing(logs)}."
            )
        return float(value)

    def _step(self, *metric: float) -> None:
        groups = self.optimizer.param_groups
        try:
            self.optimizer.param_groups = [one for one in groups if "lr_scale" not in one]
            self.scheduler.step(*metric)
        except ValueError as error:  # OneCycleLR refuses a step too many
            raise ConfigError(
                f"{type(self.scheduler).__name__} refused a step after {self.per} "
                f"{self.scheduler.last_epoch}: {error} It takes one per {self.per}: give it the "
                f"length of the run."
            ) from error
        finally:
            self.optimizer.param_groups = groups
        self._rates = self._own_rates()

    def _own_rates(self) -> list[float]:
        groups = self.optimizer.param_groups
        return [float(one["lr"]) for one in groups if "lr_scale" not in one]

    def _write_rates(self, number: int) -> None:
        for rate in self._rates:
            if not 0.0 <= rate < math.inf:
                raise ConfigError(
                    f"{type(self.scheduler).__name__} sets the learning rate of {self.per} "
                    f"{number} to {rate}. It must be 0 or more: change its arguments."
                )
        rates = iter(self._rates)
        for group in self.optimizer.param_groups:
            scale = group.get("lr_scale")
            _write(group, next(rates) if scale is None else self._rates[0] * scale)


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
        return Schedule(given, optimizer=optimizer, **options)
    return Schedule.of(given, optimizer=optimizer, **options, **kwargs)


def made(scheduler: Any, optimizer: Optimizer | None, kwargs: dict[str, Any]) -> Any:
    """Return a scheduler of torch's, made now if a class or a function was given.

    Raises:
        ConfigError: If that fails, or what comes is none.
    """
    name = getattr(scheduler, "__name__", type(scheduler).__name__)
    if not hasattr(scheduler, "optimizer") and callable(scheduler):
        try:
            scheduler = scheduler(optimizer, **kwargs) if optimizer is not None else scheduler()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} refused its arguments: {error}.") from error
    parts = ("optimizer", "step", "state_dict", "load_state_dict")
    if isinstance(scheduler, type) or not all(hasattr(scheduler, one) for one in parts):
        raise ConfigError(
            f"{name} is no scheduler of torch.optim.lr_scheduler. Give one, or its class with "
            f"optimizer=...; for a function of the update write Schedule(function)."
        )
    return scheduler


def _checked_per(per: str) -> Per:
    if per not in ("update", "epoch"):
        raise ConfigError(
            f"per={per!r} is neither 'update' nor 'epoch'."
            f"{did_you_mean(str(per), ('update', 'epoch'))}"
        )
    return per  # type: ignore[return-value] # one of the two


def _write(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)  # a captured or compiled step reads this very tensor
    else:
        group["lr"] = rate


def _plain(value: Any) -> Any:
    """Return a state as a checkpoint may hold it: a Counter of milestones as a dict."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, float) else value


def _like(own: Any, state: Any) -> Any:
    """Return a state with the types that a scheduler's own has: a Counter, a tuple."""
    if isinstance(own, dict):
        values = {key: _like(own.get(key), one) for key, one in state.items()}
        return values if type(own) is dict else type(own)(values)
    if isinstance(own, (list, tuple)) and len(own) == len(state):
        return type(own)(_like(a, b) for a, b in zip(own, state, strict=True))
    return state
