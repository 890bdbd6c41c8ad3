"""Notes: how each rank of a launched job ended, written down for those who outlive it."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basetrainer import errors
from basetrainer.engine.failures.frames import entries, shorten
from basetrainer.errors import BaseTrainerError, LaunchError, Preempted
from basetrainer.utils.file_utils import write_atomically

_LOST_PEER = re.compile(
    r"connection (closed|reset) by peer|connection refused|broken pipe|remote worker"
    r"|remote process exited|socket timeout|timed out waiting|watchdog caught collective"
    r"|ncclremoteerror|application timeout caused pair closure",
    re.IGNORECASE,
)
"""What gloo and NCCL say when another process is gone, or does not come."""

_UNMENDABLE = (
    *("ConfigError", "UnknownNameError", "UsageError", "NonFiniteError"),
    *("CheckpointError", "DataError", "Preempted"),
)
"""Ends that another start of the same processes cannot change."""

MAIN = "_call_main"
"""The function that calls ``main()``; what stands before it in a stack tells the user nothing."""

VANISHED = "vanished"
"""The type, in a note, of the end of a rank that said nothing."""


@dataclass(frozen=True)
class Note:
    """How one rank ended."""

    rank: int
    type: str
    """Name of the exception's class."""

    message: str
    traceback: str = ""
    place: str = ""
    """Where in the run it was, such as ``epoch 0, step 3``."""

    stack: str = ""
    """The lines of the user's own code that led to it; "" if there are none."""

    time: float = field(default_factory=time.time)

    @classmethod
    def of(cls, error: BaseException, rank: int, place: str = "") -> Note:
        """Write down an exception; its traceback from what ``main()`` did on."""
        begin = next((one for one in entries(error) if one.tb_frame.f_code.co_name == MAIN), None)
        if begin is not None:
            error.__traceback__ = begin.tb_next
            shorten(error)
        text = "".join(traceback.format_exception(error))
        return cls(rank, type(error).__name__, str(error), text, place, getattr(error, "stack", ""))

    @classmethod
    def from_json(cls, text: str | bytes) -> Note:
        """Return what :meth:`to_json` made a text of."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the note as a text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of_vanished(cls, rank: int, pid: int) -> Note:
        """Write down for a rank, which did not do so itself, that it is gone."""
        told = f"Rank {rank} left early: its process {pid} is gone without an error"
        return cls(rank, VANISHED, f"{told}, by os._exit() or a kill, before its work was done.")

    @property
    def is_unmendable(self) -> bool:
        """Whether the same processes, started again, would end in the same way."""
        return self.type in _UNMENDABLE

    @property
    def where(self) -> str:
        """The rank, and the place if it is known."""
        return f"rank {self.rank}{f' at {self.place}' if self.place else ''}"

    def error(self) -> BaseTrainerError:
        """Return the exception to raise for it in another process.

        An error of ours comes back as itself; any other one as a LaunchError with its traceback.
        """
        kind = LaunchError if self.type == VANISHED else getattr(errors, self.type, None)
        if not (isinstance(kind, type) and issubclass(kind, BaseTrainerError)):
            return LaunchError(f"{self.where} failed:\n{self.traceback}")
        is_told = kind.exit_code != LaunchError.exit_code or f"rank {self.rank}" in self.message
        if is_told or not self.place or self.place in self.message:
            return _with_stack(kind(self.message), self.stack)
        return _with_stack(kind(f"{self.message} ({self.where})"), self.stack)


def _with_stack(error: BaseTrainerError, stack: str) -> BaseTrainerError:
    error.stack = stack
    return error


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone, or does not come."""
    return isinstance(error, RuntimeError) and bool(_LOST_PEER.search(str(error)))


class Notes:
    """The notes of the ranks of this machine, as files in a folder.

    Args:
        folder: Of this launch alone.
        attempt: How often the processes were started again before.
    """

    def __init__(self, folder: str, attempt: int) -> None:
        self._folder = Path(folder)
        self._attempt = attempt

    def begin(self, rank: int, pid: int, start: str) -> None:
        """Write down that a rank is at work, and in which process."""
        self._write("born", rank, json.dumps({"rank": rank, "pid": pid, "start": start}))

    def end(self, rank: int) -> None:
        """Write down that a rank came to its clean end."""
        self._write("done", rank, "{}")

    def leave(self, note: Note) -> None:
        """Write down that a rank left because it was asked to."""
        self._write("left", note.rank, note.to_json())

    def fail(self, rank: int, note: Note) -> None:
        """Write down that a rank failed; the note may be of another one, which is the cause."""
        self._write("failure", rank, note.to_json())

    def born(self) -> list[dict[str, Any]]:
        """Return ``rank``, ``pid`` and ``start`` of all that began."""
        return [json.loads(path.read_text()) for path in self._files("born")]

    def has_ended(self, rank: int) -> bool:
        """Whether a rank told how it ended."""
        kinds = ("done", "left", "failure")
        return any(self._path(kind, rank).exists() for kind in kinds)

    def failure(self) -> Note | None:
        """Return the note of the rank that failed first; None if none failed."""
        notes = [Note.from_json(path.read_text()) for path in self._files("failure")]
        return min(notes, key=lambda note: note.time, default=None)

    def left(self) -> Note | None:
        """Return the note of a rank that left because it was asked to; None if none did."""
        files = self._files("left")
        return Note.from_json(files[0].read_text()) if files else None

    def _files(self, kind: str) -> list[Path]:
        return sorted(self._folder.glob(f"{kind}-{self._attempt}-*.json"))

    def _path(self, kind: str, rank: int) -> Path:
        return self._folder / f"{kind}-{self._attempt}-{rank}.json"

    def _write(self, kind: str, rank: int, text: str) -> None:
        write_atomically(self._path(kind, rank), lambda file: file.write(text.encode()))


def how_left(attempts: Sequence[Notes]) -> Preempted | KeyboardInterrupt | None:
    """Return with what the ranks left at the request of a signal; None if they did not."""
    for notes in attempts:
        note = notes.left()
        if note is not None:
            kind = Preempted if note.type == Preempted.__name__ else KeyboardInterrupt
            return kind(note.message)
    return None
