"""What one process of a launched run does: join the group, run, tell how it ended."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import re
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from basetrainer import errors
from basetrainer.errors import BaseTrainerError, LaunchError

logger = logging.getLogger(__name__)

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
    rank = int(os.environ["RANK"])
    try:
        result = run_in_group(main_func, args, startup_timeout, stall_timeout)
    except BaseException as error:
        _leave_note(Path(folder), rank, error)
        if _LOST_PEER.search(str(error)):
            time.sleep(1.0)  # let the agent see how the other one ended; it then ends this one
        raise
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


def _leave_note(folder: Path, rank: int, error: BaseException) -> None:
    """Write down how this rank failed, for the parent process."""
    note = {
        "rank": rank,
        "time": time.time(),
        "type": type(error).__name__,
        "message": str(error),
        "traceback": traceback.format_exc(),
    }
    path = folder / f"failure-{rank}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(path)


def first_failure(folder: str) -> BaseTrainerError | None:
    """Return the error of the rank that failed first, None if none of the notes tells it.

    An error of ours comes back as itself; any other one as a LaunchError with its traceback. A
    rank that only lost its connection to another one did not fail first.
    """
    notes = [json.loads(p.read_text(encoding="utf-8")) for p in Path(folder).glob("failure-*.json")]
    notes = [note for note in notes if not _LOST_PEER.search(note["message"])]
    if not notes:
        return None
    note = min(notes, key=lambda one: one["time"])
    kind = getattr(errors, note["type"], None)
    if isinstance(kind, type) and issubclass(kind, BaseTrainerError):
        return kind(note["message"])
    return LaunchError(f"rank {note['rank']} failed:\n{note['traceback']}")
