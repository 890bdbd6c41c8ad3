"""Peers: how the other ranks of a process group stand, told through the store they met at."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

from basetrainer.engine.processes.rank_reports import Note
from basetrainer.utils.posix import is_alive, start_of

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.2  # seconds


class Peers:
    """The ranks of one group: each tells when it begins, fails, and comes to its end.

    Nothing here is collective, so a rank can ask while others hang.

    Args:
        store: Keys of this group and attempt alone, over a connection of its own: one that waits
            in another thread would block this one.
        rank: Of this process.
        world_size: Ranks in all.
    """

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self.rank = rank
        self._store = store
        self._world_size = world_size
        self._host = socket.gethostname()
        self._near: dict[int, tuple[int, str]] = {}
        pid = os.getpid()
        store.set(f"born{rank}", json.dumps([self._host, pid, start_of(pid)]))

    def meet(self) -> None:
        """Get to know the processes of this machine; once all have begun."""
        others = [rank for rank in range(self._world_size) if rank != self.rank]
        if not others:
            return
        for rank, born in zip(
            others, self._store.multi_get([f"born{rank}" for rank in others]), strict=True
        ):
            host, pid, start = json.loads(born)
            # The second test: containers may share a name, but not their processes.
            if host == self._host and start and start_of(pid) == start:
                self._near[rank] = pid, start

    @staticmethod
    def earlier(store: Any) -> Note | None:
        """Return with what the ranks of another attempt ended; None if they did not tell."""
        for key in ("failed", "parted"):
            if store.check([key]):
                return Note.from_json(store.get(f"note{int(store.get(key))}"))
        return None

    def fail(self, note: Note) -> Note:
        """Tell that this rank failed, and return the note of the first one that did."""
        self._store.set(f"note{self.rank}", note.to_json())
        first = int(self._store.compare_set("failed", "", str(self.rank)))
        return note if first == self.rank else self._note(first)

    def failure(self) -> Note | None:
        """Return the note of the rank that failed first; None if none has.

        A process of this machine that is gone without a word has failed, too.
        """
        if self._store.check(["failed"]):
            return self._note(int(self._store.get("failed")))
        for rank, (pid, start) in self._near.items():
            if (is_alive(pid) and start_of(pid) == start) or self._store.check([f"done{rank}"]):
                continue
            if self._store.check(["failed"]):  # it told just before it ended
                return self._note(int(self._store.get("failed")))
            return Note.of_vanished(rank, pid)
        return None

    def wait_for_failure(self, seconds: float) -> Note | None:
        """Return the note of the rank that failed first, as soon as one has."""
        end = time.monotonic() + seconds
        while True:
            note = self.failure()
            if note is not None or time.monotonic() >= end:
                return note
            time.sleep(0.1)

    def come_to_the_end(self) -> None:
        """Wait until all ranks have come to the end of what they do; it may take long."""
        self._store.set(f"end{self.rank}", "")
        self._store.set("end", str(self.rank))
        names = [f"end{rank}" for rank in range(self._world_size)]
        pause = _SHORTEST_PAUSE
        # Asked again and again: torch reports a wait that is cut in pieces as if it had failed, and
        # signals are heard only between calls.
        while not self._store.check(names):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def early_end(self) -> int | None:
        """Return a rank that has come to the end of what it does; None if there is none."""
        return int(self._store.get("end")) if self._store.check(["end"]) else None

    def part(self, note: Note) -> None:
        """Tell that this rank leaves because it was asked to."""
        self._store.set(f"note{self.rank}", note.to_json())
        self._store.set("parted", str(self.rank))
        self.leave()

    def is_speaker(self) -> bool:
        """Whether this is the first rank of its machine to ask: that one tells the failure."""
        first = self._store.compare_set(f"speaker of {self._host}", "", str(self.rank))
        return int(first) == self.rank

    def leave(self) -> None:
        """Tell that this rank is done, and that it is no failure if its process ends."""
        self._store.set(f"done{self.rank}", "")

    def _note(self, rank: int) -> Note:
        return Note.from_json(self._store.get(f"note{rank}"))
