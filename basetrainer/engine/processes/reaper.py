"""Sweeper: in the launcher, ends the ranks that are left when one failed or is gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from basetrainer.engine.processes.rank_reports import Note, Notes
from basetrainer.utils.posix import is_alive, start_of

_INTERVAL = 0.25
_UNTOLD = 1.0
"""Seconds within which the end of a process, and what it wrote at its end, are seen together."""

_GRACE = 5.0
"""Seconds in which the other ranks may end by themselves when one failed."""

_NOBODY = 5.0
_NOBODY_YET = 60.0
"""Seconds without any process after which nothing will come any more; the second where the agent
may start them again."""


class Sweeper(threading.Thread):
    """Sees what torch's elastic agent does not: a process that left by itself with exit code 0.

    The agent would wait for its result for ever. It also gives processes that it ends minutes to
    do so, which one that hangs would use up.

    Args:
        attempts: What the ranks write down, for each time that they may be started.
    """

    def __init__(self, attempts: Sequence[Notes]) -> None:
        super().__init__(name="basetrainer-sweeper", daemon=True)
        self._attempts = attempts
        self._closed = threading.Event()
        self._gone: dict[tuple[int, int], float] = {}
        self._failed: dict[int, float] = {}

    def run(self) -> None:
        """Look, until :meth:`close` is called."""
        while not self._closed.wait(_INTERVAL):
            for attempt, notes in enumerate(self._attempts):
                self._look_at(attempt, notes)

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self.join()

    def _look_at(self, attempt: int, notes: Notes) -> None:
        born, now = notes.born(), time.monotonic()
        if not born:
            return
        alive = [
            one for one in born if is_alive(one["pid"]) and start_of(one["pid"]) == one["start"]
        ]
        for one in born:
            if one not in alive and not notes.has_ended(one["rank"]):
                since = self._gone.setdefault((attempt, one["rank"]), now)
                if now - since > _UNTOLD:
                    notes.fail(one["rank"], Note.of_vanished(one["rank"], one["pid"]))
        if notes.failure() is None:
            return
        since = now - self._failed.setdefault(attempt, now)
        if alive and since > _GRACE:
            _kill(alive)
        later = self._attempts[attempt + 1 :]
        is_over = since > (_NOBODY_YET if later else _NOBODY)
        if is_over and not alive and not any(one.born() for one in later):
            # In the agent's eyes nobody failed, and nobody is left to: end it as others would.
            os.kill(os.getpid(), signal.SIGTERM)
            self._closed.set()


def _kill(alive: list[dict[str, Any]]) -> None:
    for one in alive:
        try:
            os.kill(one["pid"], signal.SIGKILL)
        except ProcessLookupError:
            continue
