"""The hooks of a run, declared once: an engine and every callback are a ``Base``."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from torch import nn

    from basetrainer._logs import Logs
    from basetrainer.engine.engine import Engine

from basetrainer._names import nearest

P = ParamSpec("P")
B = TypeVar("B", bound="Base")


class _Audience:
    """Which listeners really hear which hook, found once per list of listeners."""

    __slots__ = ("calls", "listeners")

    def __init__(self, listeners: Sequence[Base]) -> None:
        # A copy of the same type: a list never equals a tuple.
        self.listeners = listeners if isinstance(listeners, tuple) else list(listeners)
        self.calls = {
            name: tuple(getattr(one, name) for one in self.listeners if hears(one, name))
            for name in HOOKS
        }


def hears(listener: Base, name: str) -> bool:
    """Whether calling ``name`` on ``listener`` can have any effect."""
    return (
        getattr(type(listener), name) is not getattr(Base, name)
        or name in getattr(listener, "__dict__", ())
        or bool(listener.listeners)
    )


def hook(declared: Callable[Concatenate[B, P], None]) -> Callable[Concatenate[B, P], None]:
    """Turn a hook's declaration into a broadcast to the object's listeners."""
    name = declared.__name__

    @functools.wraps(declared)
    def broadcast(self: B, /, *args: P.args, **kwargs: P.kwargs) -> None:
        listeners = self.listeners
        if not listeners:
            return
        audience: _Audience | None = self.__dict__.get("_audience")
        # Comparing lists of the same objects costs 0.05 us; it makes a list that the user
        # appends to in the middle of a run heard from the next hook on.
        if audience is None or audience.listeners != listeners:
            audience = self._gather_audience()
        calls = audience.calls[name]
        if calls:
            # Read before, so that a hook that fires others counts once.
            seconds, begin = self.hook_seconds, perf_counter()
            for call in calls:
                call(*args, **kwargs)
            self.hook_seconds = seconds + perf_counter() - begin
            self.last_hook = name

    HOOKS[name] = inspect.signature(declared)
    return broadcast


HOOKS: dict[str, inspect.Signature] = {}
"""The declared hooks by name, in the order of their declaration."""


class Base:
    """Something that hears the events of a training run, in this order.

    ::

        on_train_begin
        for each epoch:
            set_model, on_epoch_begin
            for each batch:
                on_batch_begin, (run_step, backward, optimizer step),
                on_optimizer_step (if the weights have changed),
                on_train_summary, on_batch_end
            on_test_begin
            for each test batch: (run_step), on_test_summary
            on_test_end
            on_epoch_end
        on_train_end

    and ``on_exception`` when something fails. Hooks are called with positional arguments, so
    the names of the arguments are yours to choose. Overriding a hook in a callback is enough to
    hear it; a trainer that overrides one passes it on to its callbacks by calling ``super()``.

    A misspelt hook or one with the wrong number of arguments is reported when the class is
    created, not when an epoch is over.

    Attributes:
        hook_seconds: How long the listeners have been busy in hooks so far.
        last_hook: The last hook that all listeners are through with; empty before the first.
    """

    hook_seconds = 0.0
    last_hook = ""

    shares_state = False
    """Whether :meth:`state_dict` is the same in every process, so that one of them keeps it; by
    default each process has its own kept."""

    @property
    def listeners(self) -> Sequence[Base]:
        """Who hears next, in order. Nobody, unless a subclass says otherwise."""
        return ()

    def attach(self, engine: Engine) -> None:
        """Get to know the engine that one listens to; called before the first hook."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later: tensors, numbers, strings, lists and dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned.

        Called before ``on_train_begin`` and, in a run that goes on in the middle of an epoch, once
        more after ``on_epoch_begin``, which may have reset what was counted since.
        """

    def state_for(self, rank: int, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return what this process loads in a run that goes on with another number of processes.

        Args:
            rank: Of this process.
            states: Of the processes of then, by rank.

        Returns:
            By default the state of the same rank, or that of rank 0 where there was none.
        """
        return states[rank if rank < len(states) else 0]

    @hook
    def set_model(self, model: nn.Module) -> None:
        """Get the model that is trained, at the start of each epoch."""

    @hook
    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    @hook
    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch or after ``engine.stop()``."""

    @hook
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch starts; epochs count from 0."""

    @hook
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch, its evaluation included, is over."""

    @hook
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each training batch; ``batch`` counts from 0 within the epoch."""

    @hook
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each training batch."""

    @hook
    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Called each time the weights have changed.

        An update is a batch, or a window of ``accumulate_steps`` batches, after which one or more
        optimizers stepped; what ``on_nonfinite: skip`` or a gradient scaler leaves out is none.
        It comes in any loop that trains by ``train_step`` or ``update``, or steps the optimizer
        itself, whether or not that loop calls the other hooks of a batch.

        Args:
            update: Updates taken since the beginning of the run, this one included.
            logs: The run's logs.
        """

    @hook
    def on_train_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        step: int,
        logs: Logs | None = None,
    ) -> None:
        """Called after the weights have learnt from a training batch.

        Args:
            inputs: The batch, on the device, as ``run_step`` got it.
            outputs: The first value that ``run_step`` returned.
            losses: The second one, unsummed.
            epoch: Counts from 0.
            step: The batch within the epoch, from 0.
            logs: The run's logs.
        """

    @hook
    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before the evaluation; each epoch, whether or not there is a test loader."""

    @hook
    def on_test_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        batch: int,
        logs: Logs | None = None,
    ) -> None:
        """Called after each test batch; arguments as in :meth:`on_train_summary`."""

    @hook
    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after the evaluation."""

    @hook
    def on_exception(self, error: BaseException, logs: Logs | None = None) -> None:
        """Called when the run fails, so that writers can close; the error is raised after."""

    def _gather_audience(self) -> _Audience:
        audience = self.__dict__["_audience"] = _Audience(self.listeners)
        return audience

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if name in HOOKS:
                _check_signature(cls, name, value)
            elif name.startswith("on_") and callable(value):
                _warn_misspelt(cls, name)
            elif name.startswith("build_") and callable(value):
                _warn_misspelt_builder(cls, name)


def _warn_misspelt(cls: type, name: str) -> None:
    """Say so if a method's name is almost that of a hook and nobody else declared it."""
    meant = nearest(name, HOOKS, cutoff=0.7)
    if meant and not any(name in vars(parent) for parent in cls.__mro__[1:]):
        warnings.warn(
            f"{cls.__qualname__}.{name} is never called; did you mean {meant}?", stacklevel=4
        )


def _warn_misspelt_builder(cls: type, name: str) -> None:
    """Say so if a method's name is almost that of a builder which the user has not written."""
    inherited: dict[str, Any] = {}
    for parent in reversed(cls.__mro__[1:]):
        inherited |= {one: parent for one in vars(parent) if one.startswith("build_")}
    meant = None if name in inherited else nearest(name, inherited, cutoff=0.9)
    if meant is None or meant in vars(cls):
        return
    if inherited[meant].__module__.partition(".")[0] == __name__.partition(".")[0]:
        warnings.warn(
            f"{cls.__qualname__}.{name} is never called; did you mean {meant}?", stacklevel=4
        )


def _check_signature(cls: type, name: str, value: object) -> None:
    """Refuse an override that cannot take the arguments that the engine passes."""
    if not inspect.isfunction(value):
        return  # a partial, a mock, a static method: the user knows what he does
    arguments = list(HOOKS[name].parameters)
    try:
        inspect.signature(value).bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"{cls.__qualname__}.{name}{inspect.signature(value)} cannot take what the engine "
            f"passes, {name}({', '.join(arguments)}): {error}. Give it these arguments."
        ) from None
