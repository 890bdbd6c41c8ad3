"""Callback: a ``Base`` that belongs to an engine."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch import nn

from basetrainer._logs import Logs
from basetrainer.distributed.context import DistContext
from basetrainer.engine.base import Base
from basetrainer.engine.engine import Engine
from basetrainer.engine.eval_sets import has_figures

P = ParamSpec("P")
C = TypeVar("C", bound="Callback")


class Callback(Base):
    """Override the hooks that you want to hear; see :class:`~basetrainer.engine.base.Base`.

    Attributes:
        model: The model that is trained, from ``set_model`` on.
        is_main_process: Whether this process may write files: exactly one does.
    """

    model: nn.Module | None = None
    # Not properties: a subclass that assigns them, or never calls super().__init__(), works too.
    _engine: weakref.ref[Engine] | None = None

    @functools.cached_property
    def is_main_process(self) -> bool:
        """Whether this process may write files: exactly one does."""
        return DistContext.current().is_main

    @property
    def engine(self) -> Engine | None:
        """The engine that one listens to; None before ``run()``."""
        # A weak reference, since the engine holds its callbacks: no cycle keeps a model alive.
        return self._engine() if self._engine is not None else None

    def has_figures(self, logs: Logs | None) -> bool:
        """Whether ``logs`` hold the figures that decide; see :func:`has_figures`."""
        engine = self.engine
        return has_figures(logs, engine.test_loader if engine is not None else None)

    def attach(self, engine: Engine) -> None:
        """Remember the engine."""
        self._engine = weakref.ref(engine)

    def set_model(self, model: nn.Module) -> None:
        """Remember the model."""
        self.model = model

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_engine"}


def main_process_only(
    hook: Callable[Concatenate[C, P], None],
) -> Callable[Concatenate[C, P], None]:
    """Decorate a hook that only the process that may write files shall hear.

    What it does must not be collective: the others are not there.
    """

    @functools.wraps(hook)
    def heard(self: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.is_main_process:
            hook(self, *args, **kwargs)

    return heard


def counts_as(
    part: str,
) -> Callable[[Callable[Concatenate[C, P], None]], Callable[Concatenate[C, P], None]]:
    """Decorate a hook whose time is that of another part of the run than ``callbacks``.

    Args:
        part: One of :data:`basetrainer.engine.progress.clock.PARTS`.
    """

    def decorate(hook: Callable[Concatenate[C, P], None]) -> Callable[Concatenate[C, P], None]:
        @functools.wraps(hook)
        def timed(self: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
            begin = perf_counter()
            hook(self, *args, **kwargs)
            if self.engine is not None:
                self.engine.run_clock.count_in_hook(part, perf_counter() - begin)

        return timed

    return decorate
