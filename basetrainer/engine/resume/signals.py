"""Signals: requests that a run answers at its next step instead of dying of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

NOTHING, SAVE, STOP, PREEMPT, INTERRUPT = range(5)
"""What may be asked of a run, the stronger the higher: to save, to stop, to make room for others
(SIGTERM, SIGUSR1), to end because somebody pressed Ctrl-C."""

_LEVELS = {"SIGTERM": PREEMPT, "SIGUSR1": PREEMPT, "SIGINT": INTERRUPT}
_ONE_PRESS = 1.0
"""Seconds within which several SIGINT are one press: a terminal and a launcher both send it."""

_HINT = b"\nCtrl-C: the run ends after this step and saves. Press it again to leave at once.\n"


class Signals:
    """While entered, turns SIGTERM, SIGUSR1 and Ctrl-C into ``request``.

    The handlers that were there before come back on leaving. Off the main thread, where Python
    takes no signals, nothing is changed.

    Attributes:
        request: The highest request so far.
        name: The signal that asked for it.
    """

    def __init__(self) -> None:
        self.request = NOTHING
        self.name = ""
        self._before: dict[int, Any] = {}
        self._pressed = 0.0

    def __enter__(self) -> Signals:
        self.request, self.name = NOTHING, ""
        if threading.current_thread() is threading.main_thread():
            for name in _LEVELS:
                if hasattr(signal, name):  # not all systems have all of them
                    number = getattr(signal, name)
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python; it cannot be set from here again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()
        self.request, self.name = NOTHING, ""  # what was asked of this run is asked of no other

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        level = _LEVELS[name]
        if level == INTERRUPT:
            if self.request < INTERRUPT:
                self._pressed = time.monotonic()
                os.write(2, _HINT)  # logging is not safe in a handler
            elif time.monotonic() - self._pressed > _ONE_PRESS:
                raise KeyboardInterrupt("pressed twice: nothing was saved since the checkpoint")
        if level > self.request:
            self.request, self.name = level, name
