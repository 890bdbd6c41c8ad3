"""Requests: what is asked of a run from inside and outside, and what all ranks make of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from basetrainer.distributed.context import DistContext
from basetrainer.distributed.shared_flag import SharedFlag
from basetrainer.engine.resume.signals import NOTHING, PREEMPT, STOP

_SECONDS_BETWEEN_CALLS = 0.5


class Requests:
    """Gathers the requests of one run: to stop, from callbacks; to save or to leave, from outside.

    Args:
        context: This process's place in the run.

    Attributes:
        stop_reason: Why the run shall end early; None if it shall not.
        stop_is_final: Whether it is done then, or goes on when it is started again.
        outside: Returns what signals and clocks ask of this rank; see
            :mod:`~basetrainer.engine.resume.signals` for the levels.
    """

    def __init__(self, context: DistContext) -> None:
        self.stop_reason: str | None = None
        self.stop_is_final = True
        self.outside: Callable[[], int] | None = None
        self._context = context
        self._is_alone = context.world_size == 1
        self._flag = SharedFlag(context)
        self._next_call = 0.0

    def stop(self, reason: str, is_final: bool) -> None:
        """Ask to stop; the first reason stays."""
        if self.stop_reason is None:
            self.stop_reason, self.stop_is_final = reason, is_final

    def withdraw(self) -> None:
        """Forget what was asked of an earlier run."""
        self.stop_reason, self.stop_is_final = None, True

    def poll(self) -> int:
        """Return what was asked of any rank by the last poll; every rank must call it."""
        mine = self._mine()
        return mine if self._is_alone else self._explained(self._flag.poll(mine))

    def settle(self) -> int:
        """Return what is asked of any rank now, waiting for all; every rank must call it."""
        return self._explained(self._flag.settle(self._mine()))

    def is_called_away(self) -> bool:
        """Whether the run shall leave, as far as is known without waiting for other ranks."""
        mine = self._mine()
        if not self._is_alone and time.monotonic() >= self._next_call:
            self._next_call = time.monotonic() + _SECONDS_BETWEEN_CALLS
            mine = self._flag.call(mine)
        return mine >= PREEMPT

    def _mine(self) -> int:
        stop = STOP if self.stop_reason is not None else NOTHING
        return stop if self.outside is None else max(stop, self.outside())

    def _explained(self, request: int) -> int:
        """Let all ranks know the reason, if one of them wants to stop."""
        if request == STOP and not self._is_alone:
            reasons = self._context.gather((self.stop_reason, self.stop_is_final))
            self.stop_reason, self.stop_is_final = next(one for one in reasons if one[0])
        return request
