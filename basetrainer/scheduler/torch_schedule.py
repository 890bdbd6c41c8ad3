"""TorchSchedule: a scheduler of torch's as a callback, stepped and resumed with the run."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from basetrainer._logs import Logs
from basetrainer._monitor import Monitor
from basetrainer._names import did_you_mean
from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError

Per = Literal["update", "epoch"]


class TorchSchedule(Callback):
    """Steps a scheduler of torch's, as :meth:`basetrainer.scheduler.own.Schedule.of` makes it.

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
        self.per: Per = "epoch" if self._needs_metric else checked_per(per)
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
            write(group, next(rates) if scale is None else self._rates[0] * scale)


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


def checked_per(per: str) -> Per:
    """Return what a schedule counts, or raise ConfigError."""
    if per not in ("update", "epoch"):
        raise ConfigError(
            f"per={per!r} is neither 'update' nor 'epoch'."
            f"{did_you_mean(str(per), ('update', 'epoch'))}"
        )
    return per  # type: ignore[return-value] # one of the two


def write(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of a group."""
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
