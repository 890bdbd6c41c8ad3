"""The POSIX calls of the library: what children do with signals, who lives, what is on the disk.

Each function does nothing where the system has no such call.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1

STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
"""The signals that ask a run to end; only its main process answers them."""


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it is gone (Linux only).

    To be called early in a child that :mod:`multiprocessing` started. To the kernel the parent is
    the *thread* that started the child: one started off the main thread dies when that thread ends.
    """
    if sys.platform != "linux":
        return
    import ctypes

    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):  # a C library without it
        return
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # gone before the call
        os._exit(1)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold :data:`STOP_SIGNALS` back from this thread, and from the processes it starts inside.

    A child inherits this: what reaches it before :func:`ignore_stop_signals` waits, instead of
    ending it half started.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals() -> None:
    """Leave :data:`STOP_SIGNALS` to the main process; for the main thread of a child.

    Terminals, batch systems and ``timeout`` signal every process of a job at once: the main one
    needs its children alive until it has saved. Whoever started the child must end it by SIGKILL.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Bring a folder's list of names to the disk; a rename in it then outlives a power cut."""
    if os.name != "posix":
        return  # Windows cannot open folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; True where that cannot be asked."""
    if os.name != "posix":
        return True  # there, signal 0 would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return _stat(pid)[:1] != ["Z"]  # a zombie is dead


def start_of(pid: int) -> str:
    """Return when a process started, to tell it from a later one of the same number.

    It is a text to compare, "" where it cannot be known.
    """
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of Linux's ``/proc/PID/stat`` behind the program's name."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name may hold spaces and parentheses
