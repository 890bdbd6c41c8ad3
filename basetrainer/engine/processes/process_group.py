"""The process group: how a process joins it, works in it, and leaves it, whatever happens."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one from 3.11 on
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from basetrainer.engine.processes.rank_registry import Peers
from basetrainer.engine.processes.rank_reports import Note, is_lost_peer
from basetrainer.engine.processes.watchdog import Watch, store_is_gone
from basetrainer.errors import LaunchError, Preempted

_PATIENCE = 3.0
"""Seconds in which the rank that failed first makes itself known to those that lost it."""

_HEAD_START = 1.0
"""Seconds that a rank leaves to the first failing one, so that a launcher blames that one."""


def run_in_group(
    main_func: Callable[..., Any],
    args: Sequence[Any],
    startup_timeout: float,
    stall_timeout: float,
    tell: Callable[[Note, Peers | None], None],
    *,
    raises: bool = False,
) -> Any:
    """Run ``main_func(*args)`` as a member of the process group that torchrun's variables name.

    Args:
        main_func: What to run.
        args: Its arguments.
        startup_timeout: Seconds within which all ranks must have met.
        stall_timeout: Seconds after which a rank gives up waiting for others in a collective.
        tell: Told how this rank failed; the process ends right after.
        raises: Whether failures of ``main_func`` are raised, as there are no other ranks or
            somebody is at the keyboard. By default they end the process: Python's own way out
            would wait for threads that wait for other ranks.

    Raises:
        Preempted, KeyboardInterrupt: If signals asked the ranks to leave.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_world))
    is_ending = threading.Lock()

    def end(note: Note, peers: Peers | None = None) -> None:
        if not is_ending.acquire(blocking=False):
            time.sleep(60)  # the other thread is at it
        tell(note, peers)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(note.error().exit_code)

    try:
        peers = _join(startup_timeout, stall_timeout)
    except (Preempted, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not raises:
            end(Note.of(error, int(os.environ["RANK"])))
        raise
    watch = Watch.current = Watch(lambda note: end(note, peers), peers)
    watch.start()
    try:
        result = _call_main(main_func, args)
        _leave(peers)
    except (Preempted, KeyboardInterrupt) as error:
        peers.part(Note.of(error, peers.rank))
        raise
    except BaseException as error:
        if not raises:
            note = _judge(error, peers, watch)
            watch.write_exit_file(note.error())
            end(note, peers)
        raise
    finally:
        watch.close()
        Watch.current = None
    return result


def _call_main(main_func: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call it; what stands before this in a stack is of no interest to the user."""
    try:
        return main_func(*args)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
        return None  # it ended with sys.exit(), after its work


def _leave(peers: Peers) -> None:
    """Leave the group together with all others."""
    # Only then is no other rank waiting for this one in a collective.
    peers.come_to_the_end()
    # A rank that leaves while others still talk to it makes them fail at a clean end.
    dist.barrier()
    peers.leave()
    dist.destroy_process_group()


def _judge(error: BaseException, peers: Peers, watch: Watch) -> Note:
    """Return how this rank ended, or with whom, if another one is the cause."""
    if isinstance(error, SystemExit):
        stack = "".join(traceback.format_exception(error)).rstrip()
        error = LaunchError(f"Rank {peers.rank} left early, by exit():\n{stack}")
    mine = Note.of(error, peers.rank, watch.place)
    lost = is_lost_peer(error)

    def ask() -> Note:
        return (peers.wait_for_failure(_PATIENCE) if lost else None) or peers.fail(mine)

    # In another thread: a machine that is cut off never gets an answer.
    asked = ThreadPoolExecutor(1).submit(ask)
    try:
        cause = asked.result(timeout=2 * _PATIENCE)
    except (dist.DistNetworkError, TimeoutError, FutureTimeout) as silence:
        return store_is_gone(silence) if lost else mine
    if cause is not mine:
        time.sleep(_HEAD_START)
    return cause


def _join(startup_timeout: float, stall_timeout: float) -> Peers:
    """Make the process group: NCCL between accelerators, gloo between CPUs."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    backend = "gloo"
    if accelerator is not None:
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
        of_device = dist.get_default_backend_for_device(accelerator)
        backend = f"cpu:gloo,{accelerator.type}:{of_device}"
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    has_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    wait = timedelta(seconds=startup_timeout)
    store = _connect(world_size, wait, hosts=rank == 0 and not has_agent)
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    told = _connect(world_size, wait, hosts=False)
    for earlier in range(attempt):
        _refuse_to_repeat(_prefixed(f"peers{earlier}", told))
    peers = Peers(_prefixed(f"peers{attempt}", told), rank, world_size)
    # The agent's store outlives a restart: without a prefix of its own a restarted rank would
    # read the addresses of the dead ones.
    dist.init_process_group(
        backend,
        store=_prefixed(f"attempt{attempt}", store),
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=stall_timeout),
    )
    peers.meet()
    return peers


def _connect(world_size: int, wait: timedelta, *, hosts: bool) -> Any:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(address, port, world_size, is_master=hosts, timeout=wait)  # type: ignore[attr-defined]


def _prefixed(prefix: str, store: Any) -> Any:
    return dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]


def _refuse_to_repeat(store: Any) -> None:
    """Raise what ended an earlier attempt again, if a restart cannot mend it."""
    note = Peers.earlier(store)
    if note is not None and note.is_unmendable:
        raise note.error()
