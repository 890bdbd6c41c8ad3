"""Loader workers: what each does first, how they are ended, and what it means when one dies."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.util import Finalize
from typing import Any

from basetrainer._torch_private import (
    end_workers,
    error_of_worker,
    is_error_of_worker,
    worker_processes,
)
from basetrainer.errors import LoaderError
from basetrainer.utils.posix import die_with_parent, ignore_stop_signals


@dataclass
class WorkerInit:
    """The ``worker_init_fn`` of our loaders; calls the user's at the end.

    Args:
        init_fn: The user's, called with the worker's number.
        main_pid: Of the process that starts the workers.
        from_main_thread: Whether it starts them from its main thread.
    """

    init_fn: Callable[[int], None] | None = None
    main_pid: int = 0
    from_main_thread: bool = True

    def starting(self) -> None:
        """Note who starts the workers; to be called by the one who does, right before."""
        self.main_pid = os.getpid()
        self.from_main_thread = threading.current_thread() is threading.main_thread()

    def __call__(self, worker_id: int) -> None:
        """Prepare the worker."""
        if os.getpid() != self.main_pid:  # a worker that is a thread has nothing to set
            ignore_stop_signals()
            die_with_parent(from_main_thread=self.from_main_thread)
            Queue._on_queue_feeder_error = _send_the_error  # type: ignore[attr-defined]
        if self.init_fn is not None:
            self.init_fn(worker_id)


def _send_the_error(queue: Queue[Any], error: Exception, item: Any) -> None:
    """Send why a batch cannot be sent in its place: else the main process would wait for ever."""
    is_batch = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], int)
    if not is_batch:  # in a queue of the dataset's own
        _print_the_error(error, item)
    elif is_error_of_worker(item[1]):
        os._exit(1)  # not even the error can be sent
    else:
        queue.put((item[0], error_of_worker("while a DataLoader worker sent its batch")))


def _no_hook(error: Exception, item: Any) -> None:
    """Stand in for a hook that this version of Python lacks."""


_print_the_error = getattr(Queue, "_on_queue_feeder_error", _no_hook)
_OWNERS: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
"""Which process started the workers of each iterator."""

_WATCHED: set[int] = set()
"""In which processes workers are ended at the exit."""

_NOT_OURS: list[Any] = []
"""Copies, in a forked process, of its parent's iterators: collected, they would end its workers."""


def owns_workers(iterator: Any) -> bool:
    """Whether this process started the iterator's workers."""
    return _OWNERS.get(iterator) == os.getpid()


def own_workers(iterator: Any) -> None:
    """Note that this process has just started the iterator's workers; they end when it exits."""
    # Before torch and multiprocessing, in a process that it started, wait for them at the exit.
    atexit.unregister(_stop_all)
    atexit.register(_stop_all)
    if os.getpid() not in _WATCHED:
        _WATCHED.add(os.getpid())
        Finalize(None, _stop_all, exitpriority=0)
    _OWNERS[iterator] = os.getpid()


def _stop_all() -> None:
    for iterator in list(_OWNERS):
        if owns_workers(iterator):
            stop_workers(iterator)


def stop_workers(iterator: Any) -> None:
    """End the workers of a loader's iterator at once.

    They hold nothing that must be saved. Left to itself torch waits up to 5 s for each that is
    busy, and then asks by SIGTERM, which ours ignore.
    """
    if iterator is None or iterator not in _OWNERS:
        return
    if owns_workers(iterator):
        end_workers(iterator)
    else:
        _NOT_OURS.append(iterator)


_SHARED_MEMORY = re.compile(
    r"bus error|shared memory|/torch_\w+>?: no space left|shm.*no space left", re.IGNORECASE
)
_SIGNAL_NAME = re.compile(r"killed by signal: ([^.]+)\.")
_NOT_PINNED = re.compile(r"cannot pin '|in pin memory thread")
_PIN_THREAD_ENDED = "Pin memory thread exited"  # it reads what the workers hand over
_HAS_ENDED = re.compile(r"DataLoader worker \(pid")


def worker_error(error: BaseException, iterator: Any = None) -> LoaderError | None:
    """Return what a loader's failure means and how to mend it; None if it is the data's own.

    It is known of workers that died, and of batches that torch could not pin.

    Args:
        error: What was raised, in a loader or, by torch's SIGCHLD handler, anywhere else.
        iterator: The loader's iterator, if it is known.
    """
    said = _chain(error)
    if _SHARED_MEMORY.search(said):
        return LoaderError(_NO_SHARED_MEMORY.format(room=_shared_memory()))
    if _NOT_PINNED.search(said):
        return LoaderError(_UNPINNABLE.format(said=str(error).strip().splitlines()[-1]))
    processes = worker_processes(iterator)
    is_cut_off = isinstance(error, (ConnectionError, EOFError)) or _PIN_THREAD_ENDED in said
    for process in processes if is_cut_off else ():  # while it handed a batch over
        process.join(0.2)
    codes = {one.exitcode for one in processes} - {None}
    if not (is_cut_off and codes) and not _HAS_ENDED.search(said):
        return None
    by_signal = _SIGNAL_NAME.search(said)
    if -signal.SIGKILL in codes or (by_signal and by_signal[1] == "Killed"):
        return LoaderError(_KILLED)
    if by_signal or min(codes, default=0) < 0:
        name = by_signal[1] if by_signal else signal.Signals(-min(codes)).name
        return LoaderError(_CRASHED.format(signal=name))
    return LoaderError(_ENDED.format(code=max(codes, default="unknown")))


def _chain(error: BaseException | None) -> str:
    """Return the messages of an error and of those it came from."""
    said = []
    while error is not None:
        said.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def _shared_memory() -> str:
    """Tell how large the shared memory is, where it is a file system."""
    try:
        size = shutil.disk_usage("/dev/shm").total
    except OSError:
        return ""
    return f" /dev/shm has {size / 2**20:.0f} MiB in all."


_NO_SHARED_MEMORY = (
    "A loader worker ran out of shared memory, through which it hands over its batches.{room} "
    "Give it more (docker run --shm-size=8g, or --ipc=host), or need less: a smaller "
    "prefetch_factor, num_workers or batch_size. num_workers: 0 needs none."
)
_UNPINNABLE = (
    "A batch could not be put into pinned memory ({said}). Pass pin_memory=False to "
    "build_dataloader: only dense tensors of the CPU can be pinned, while there is memory for it."
)
_KILLED = (
    "A loader worker was killed (SIGKILL), by the system's out-of-memory killer unless somebody "
    "did it by hand; 'dmesg' tells. Use fewer num_workers or a smaller prefetch_factor, and look "
    "for data that every worker copies, such as long Python lists in the dataset."
)
_CRASHED = (
    "A loader worker crashed ({signal}) in the native code of the dataset, a transform or a "
    "decoder. With num_workers: 0 and 'python -X faulthandler' the run shows where."
)
_ENDED = (
    "A loader worker ended by itself (exit code {code}): the dataset, or a library that it uses, "
    "left the process. With num_workers: 0 the run shows where; what the worker wrote stands above."
)
