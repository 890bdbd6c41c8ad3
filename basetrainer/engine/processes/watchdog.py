"""Watch: a thread that ends this process when another rank is gone, or when the run stalls."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from basetrainer._torch_private import waits_for_ranks
from basetrainer.engine.failures.exit_file import write_exit_file
from basetrainer.engine.position import place_of
from basetrainer.engine.processes.rank_registry import Peers
from basetrainer.engine.processes.rank_reports import MAIN, Note
from basetrainer.errors import LaunchError

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

_INTERVAL = 0.5
"""Seconds between two looks."""

_GRACE = 1.5
"""Seconds in which the main thread, which knows more, may end the process by itself."""

_FOR_PYTHON = 5.0
"""Seconds after the limit in which this thread, which knows more, tells a stall."""

_LONGEST_GOODBYE = 4.0
"""Seconds that a collective may take on another rank when it is through on one."""


class Watch(threading.Thread):
    """Looks every half second whether the other ranks are there and the run goes on.

    The run does nothing for it: its position and what its hooks took are read as they are.

    Args:
        end: Ends this process, after telling how it ended.
        peers: The other ranks; None in a process without.
    """

    current: Watch | None = None
    """That of this process."""

    def __init__(self, end: Callable[[Note], None], peers: Peers | None = None) -> None:
        super().__init__(name="basetrainer-watch", daemon=True)
        self._end = end
        self._peers = peers
        self._rank = 0 if peers is None else peers.rank
        self._closed = threading.Event()
        self._main = threading.main_thread().ident
        self._engine: Engine | None = None
        self._last: weakref.ref[Engine] | None = None
        self._limit: float | None = None
        self._seen: Any = None
        self._since = 0.0
        self._waiting: tuple[FrameType, int] | None = None
        self._waits_since = 0.0

    def run(self) -> None:
        """Look, until :meth:`close` is called."""
        while not self._closed.wait(_INTERVAL):
            note = self._failure_of_a_peer()
            if note is not None:
                if not self._closed.wait(_GRACE):
                    self.write_exit_file(note.error())
                    self._end(note)
            elif self._engine is not None and self._limit is not None:
                self._look_at(self._engine, self._limit)

    def close(self) -> None:
        """Look no more; what is running is finished first."""
        self._closed.set()
        if self.is_alive():
            self.join()

    @contextmanager
    def over(self, engine: Engine) -> Iterator[None]:
        """Watch a run while entered; runs may be nested."""
        outer = self._engine, self._limit
        self._since, self._seen = time.monotonic(), None
        self._engine, self._limit = engine, engine.config.stall_limit
        self._last = weakref.ref(engine)
        self._arm()
        try:
            yield
        finally:
            self._engine, self._limit = outer
            if engine.config.stall_limit is not None:
                faulthandler.cancel_dump_traceback_later()

    @property
    def place(self) -> str:
        """Where the last run is, or ended; empty if there was none."""
        engine = self._last() if self._last is not None else None
        return place_of(engine) if engine is not None else ""

    def write_exit_file(self, error: BaseException) -> None:
        """Write how the last run ended into its folder, unless it did so itself."""
        engine = self._last() if self._last is not None else None
        if engine is not None:
            write_exit_file(engine, error)

    def _failure_of_a_peer(self) -> Note | None:
        if self._peers is None:
            return None
        try:
            return self._peers.failure() or self._early_end(self._peers)
        except dist.DistNetworkError as error:
            return store_is_gone(error)

    def _early_end(self, peers: Peers) -> Note | None:
        """Return that a rank has come to its end while this one waits for it."""
        rank = peers.early_end()
        frame = sys._current_frames().get(self._main or 0) if rank is not None else None
        if frame is None or Peers.come_to_the_end.__code__ in _codes(frame):
            self._waiting = None
        elif self._waiting != (frame, frame.f_lasti):
            self._waiting, self._waits_since = (frame, frame.f_lasti), time.monotonic()
        elif time.monotonic() - self._waits_since > _LONGEST_GOODBYE and waits_for_ranks(frame):
            self._waiting = None
            stack = "".join(traceback.format_stack(frame)).rstrip()
            told = (
                f"Rank {rank} left early: it came to its end while rank {self._rank} waits for it"
            )
            return Note(rank or 0, LaunchError.__name__, f"{told}, in\n{stack}")
        return None

    def _look_at(self, engine: Engine, limit: float) -> None:
        position = engine.position
        seen = (position.epoch, position.step, position.update, engine.test_step)
        now = time.monotonic()
        if (*seen, engine.hook_seconds) != self._seen:
            self._seen, self._since = (*seen, engine.hook_seconds), now
            self._arm()
        elif now - self._since > limit:
            self._tell_stall(engine, limit)

    def _arm(self) -> None:
        """See to it that C tells a stall, if native code keeps this thread from doing so."""
        if self._limit is not None:
            faulthandler.dump_traceback_later(self._limit + _FOR_PYTHON, exit=True, file=2)

    def _tell_stall(self, engine: Engine, limit: float) -> None:
        """Print the stacks of this process, and end it: first of all ranks if it is the cause."""
        faulthandler.cancel_dump_traceback_later()
        frame = sys._current_frames().get(self._main or 0)
        waits = self._peers is not None and waits_for_ranks(frame)
        done = f"the last completed hook is {engine.last_hook or 'none'}"
        what = f"rank {self._rank} at {place_of(engine)}: nothing was done for {limit:g} s; {done}"
        sys.stderr.write(f"stalled: {what}\n")
        sys.stderr.flush()
        faulthandler.dump_traceback(2, all_threads=True)
        # Only ranks that wait for nobody are to blame; if there is none, all wait for each other.
        note = self._peers.wait_for_failure(3.0 if waits else 0.5) if self._peers else None
        if note is None:
            told = f"{what[0].upper()}{what[1:]} (stall_limit: {limit:g}).\n{_stack(frame)}"
            if waits:
                told += "\nIt waits for other ranks, and so do they: they did not do the same."
            note = Note(self._rank, LaunchError.__name__, told, place=place_of(engine))
            if self._peers is not None:
                note = self._peers.fail(note)
        write_exit_file(engine, note.error())
        self._end(note)


def store_is_gone(error: BaseException) -> Note:
    """Return what is said when the store that the ranks met at cannot be asked any more."""
    address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    told = (
        f"The store of the job at {address} does not answer: the launcher there, or rank 0 if it "
        f"was started by something else, has ended, or the network is cut. Its screen says why."
    )
    return Note(0, LaunchError.__name__, told)


@contextmanager
def watched(engine: Engine) -> Iterator[None]:
    """Watch a run while entered, with a thread of its own if this process has none."""
    watch = Watch.current
    if watch is not None or engine.config.stall_limit is None:
        with watch.over(engine) if watch is not None else nullcontext():
            yield
        return
    watch = Watch.current = Watch(_end_alone)
    watch.start()
    try:
        with watch.over(engine):
            yield
    finally:
        watch.close()
        Watch.current = None


def _end_alone(note: Note) -> None:
    sys.stderr.write(f"error: {note.message}\n")
    sys.stderr.flush()
    os._exit(1)


def _codes(frame: FrameType | None) -> Iterator[Any]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _stack(frame: FrameType | None) -> str:
    """Return where a thread is, as a traceback has it, without what stands before ``main()``."""
    frames = traceback.extract_stack(frame) if frame is not None else []
    begin = max((place for place, one in enumerate(frames, 1) if one.name == MAIN), default=0)
    listed = "".join(traceback.format_list(frames[begin:])).rstrip()
    return f"Its main thread (most recent call last):\n{listed}"
