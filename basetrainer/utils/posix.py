"""The POSIX calls of the library: what children do with signals, who lives, what is on the disk.

Each function does nothing where the system has no such call.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from pathlib import Path

_PR_SET_PDEATHSIG = 1

_KEEP = (
    (-3, 1 << 30),  # M_MMAP_THRESHOLD: up to this size from the heap
    (-1, (1 << 31) - 1),  # M_TRIM_THRESHOLD: so much may lie free at its end
    (-2, 64 << 20),  # M_TOP_PAD: by how much it grows at once
)

STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
"""The signals that ask a run to end; only its main process answers them."""


def die_with_parent(*, from_main_thread: bool = True) -> None:
    """Let this process be killed when the one that started it is gone.

    To be called early in a child that :mod:`multiprocessing` started. On Linux the kernel does it,
    at once; elsewhere, and where the kernel's idea of the parent is another, a thread waits for it.

    Args:
        from_main_thread: Whether the main thread of the parent started this process. To the kernel
            the parent is a thread, and its end would count.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # With "forkserver" the kernel's parent is the server, which lives as long as its children.
    is_kernels = sys.platform == "linux" and from_main_thread and os.getppid() == parent.pid
    if is_kernels and _ask_kernel():
        if not parent.is_alive():  # it was gone before
            os._exit(1)
        return
    threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _ask_kernel() -> bool:
    """Ask Linux for a SIGKILL at the parent's end; return whether it agreed."""
    import ctypes

    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):  # a C library without it
        return False
    return int(prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)) == 0


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def signals_held_back(start_method: str) -> Iterator[None]:
    """Hold :data:`STOP_SIGNALS` back from this thread, and from the processes it starts inside.

    A child inherits this: what reaches it before :func:`ignore_stop_signals` waits, instead of
    ending it half started.

    Args:
        start_method: How :mod:`multiprocessing` starts them: "fork", "forkserver", or "spawn".
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if start_method != "fork":
        # Started inside it would let the signals through again: CPython unblocks, not restores.
        resource_tracker.ensure_running()
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


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the signal handlers back that were there before, whatever was set inside."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no handler can be set here
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python cannot be set from here again.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


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
    except (ProcessLookupError, OverflowError):
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


@contextmanager
def one_at_a_time(folder: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let one process at a time through; the next one comes when it leaves, or ends anyhow.

    Where there are no such locks (Windows, some network disks) nobody waits.

    Args:
        folder: That all of them name; nothing is written there.
        waiting: Called if another process is inside.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def num_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: containers and job schedulers give a part
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what is freed, for the rest of the process; tell whether it will.

    By default large tensors come from the system and go back to it in every step, and each of their
    pages costs a fault when it is first touched.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it
        return False
    return all(mallopt(option, value) for option, value in _KEEP)


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held; 0 if the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
