"""What one process of a launched run does: join the group, run, tell how it ended."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from basetrainer import errors
from basetrainer.errors import (
    BaseTrainerError,
    CheckpointError,
    ConfigError,
    DataError,
    LaunchError,
    NonFiniteError,
    Preempted,
    UsageError,
)
from basetrainer.utils.file_utils import write_atomically
from basetrainer.utils.posix import die_with_parent

logger = logging.getLogger(__name__)

_SECONDS_TO_REPORT = 1.0

_LOST_PEER = re.compile(
    r"connection (closed|reset) by peer|connection refused|broken pipe|remote worker"
    r"|remote process exited|socket timeout",
    re.IGNORECASE,
)
"""What gloo and NCCL say when another process is gone."""


def work(
    folder: str,
    main_func: Callable[..., Any],
    args: Sequence[Any],
    startup_timeout: float,
    stall_timeout: float,
) -> bytes | None:
    """Run ``main_func`` as one rank; leave a note in ``folder`` if it fails.

    Returns:
        The pickled result of rank 0; None on the others.
    """
    gc.freeze()  # a forked process must not collect what its parent left: half of it is threads
    die_with_parent()
    # A forked process has the launcher's own handlers, which would not end it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rank = int(os.environ["RANK"])
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    try:
        if attempt:
            _refuse_to_repeat(folder, attempt - 1)
        result = run_in_group(main_func, args, startup_timeout, stall_timeout)
    except (Preempted, KeyboardInterrupt) as error:
        # To the agent it is a success: it shall not start the processes again.
        _write_note(Path(folder, f"left-{rank}.json"), error)
        # An agent that got the signal, too, no longer answers, which the caller would wait for.
        leave = threading.Timer(_SECONDS_TO_REPORT, os._exit, (0,))
        leave.daemon = True
        leave.start()
        return None
    except BaseException as error:
        _write_note(Path(folder, f"failure-{attempt}-{rank}.json"), error, rank=rank)
        if _LOST_PEER.search(str(error)):
            time.sleep(1.0)  # let the agent see how the other one ended; it then ends this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # Python's own way out would wait for threads that wait for other ranks
    if rank != 0 or result is None:
        return None
    try:
        return pickle.dumps(result)
    except Exception as error:
        logger.warning("the result of %s does not pickle (%s): None", main_func, error)
        return None


def run_in_group(
    main_func: Callable[..., Any],
    args: Sequence[Any],
    startup_timeout: float,
    stall_timeout: float,
) -> Any:
    """Run ``main_func(*args)`` as a member of the process group that torchrun's variables name."""
    if "OMP_NUM_THREADS" not in os.environ:
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_world))
    _join_group(startup_timeout, stall_timeout)
    # Not in a finally: a failing rank must write its note before the others miss it.
    result = main_func(*args)
    # A rank that leaves while others still talk to it makes them fail at a clean end.
    dist.barrier()
    dist.destroy_process_group()
    return result


def _join_group(startup_timeout: float, stall_timeout: float) -> None:
    """Make the process group: NCCL between accelerators, gloo between CPUs."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    backend = "gloo"
    if accelerator is not None:
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
        of_device = dist.get_default_backend_for_device(accelerator)
        backend = f"cpu:gloo,{accelerator.type}:{of_device}"
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    has_agent_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world_size,
        is_master=rank == 0 and not has_agent_store,
        timeout=timedelta(seconds=startup_timeout),
    )
    # The agent's store outlives a restart: without a prefix of its own a restarted rank would
    # read the addresses of the dead ones.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        backend,
        store=dist.PrefixStore(f"attempt{attempt}", store),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=stall_timeout),
    )


def _write_note(path: Path, error: BaseException, **more: Any) -> None:
    """Write down how this rank ended, for the parent process."""
    note = {
        **more,
        "time": time.time(),
        "type": type(error).__name__,
        "message": str(error),
        "traceback": traceback.format_exc(),
    }
    write_atomically(path, lambda file: file.write(json.dumps(note).encode()))


def _notes(folder: str, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob(pattern)]


def first_failure(folder: str, attempt: int = 0) -> BaseTrainerError | None:
    """Return the error of the rank that failed first, None if none of the notes tells it.

    An error of ours comes back as itself; any other one as a LaunchError with its traceback. A
    rank that only lost its connection to another one did not fail first.
    """
    notes = _notes(folder, f"failure-{attempt}-*.json")
    notes = [note for note in notes if not _LOST_PEER.search(note["message"])]
    if not notes:
        return None
    note = min(notes, key=lambda one: one["time"])
    kind = getattr(errors, note["type"], None)
    if isinstance(kind, type) and issubclass(kind, BaseTrainerError):
        return kind(note["message"])
    return LaunchError(f"rank {note['rank']} failed:\n{note['traceback']}")


def how_left(folder: str) -> Preempted | KeyboardInterrupt | None:
    """Return with what the ranks left at the request of a signal; None if they did not."""
    notes = _notes(folder, "left-*.json")
    if not notes:
        return None
    kind = Preempted if notes[0]["type"] == Preempted.__name__ else KeyboardInterrupt
    return kind(notes[0]["message"])


def _refuse_to_repeat(folder: str, attempt: int) -> None:
    """Raise the error of the last attempt again, if a restart cannot mend it."""
    error = first_failure(folder, attempt)
    if isinstance(error, (ConfigError, UsageError, NonFiniteError, CheckpointError, DataError)):
        raise error
