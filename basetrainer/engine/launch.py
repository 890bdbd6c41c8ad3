"""launch(): start one process per device, wait for them, and turn failures into exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import os
import pickle
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from basetrainer.engine.failures.exit_file import INTERRUPTED
from basetrainer.engine.failures.frames import users_lines
from basetrainer.engine.processes.launch_checks import (
    check_machines,
    check_pickles,
    warn_of_lone_copies,
)
from basetrainer.engine.processes.process_group import run_in_group
from basetrainer.engine.processes.rank_registry import Peers
from basetrainer.engine.processes.rank_reports import VANISHED, Note, Notes, how_left
from basetrainer.engine.processes.reaper import Sweeper
from basetrainer.engine.processes.slurm import slurm_group
from basetrainer.engine.processes.worker import work
from basetrainer.errors import BaseTrainerError, ConfigError, LaunchError, Preempted
from basetrainer.utils.posix import handlers_kept

logger = logging.getLogger(__name__)

_START_TIME = "BASETRAINER_START_TIME"
_GROUP = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun, and others that start processes, set in each."""

_SAVE_TIMEOUT = 120
"""Seconds that processes have, once they were told to end, to write a checkpoint."""

StartMethod = Literal["spawn", "fork", "forkserver"]


def launch(
    main_func: Callable[..., Any],
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    distributed: bool = True,
    args: Sequence[Any] = (),
    *,
    start_method: StartMethod = "spawn",
    startup_timeout: float = 60.0,
    stall_timeout: float = 600.0,
    max_restarts: int = 0,
) -> Any:
    """Run ``main_func(*args)`` in one process per device and return what rank 0 returned.

    With one process in all, or ``distributed=False``, it is called in this process (unless there
    are restarts). Where ``torchrun``, or whatever else, has set RANK, WORLD_SIZE, MASTER_ADDR and
    MASTER_PORT, this process joins that group; so does each task of ``srun``, if there are several.

    Args:
        main_func: At the top level of a module, so that the new processes find it.
        num_gpus_per_machine: Processes on this machine: one per id of ``gpu_id``. NCCL connects
            them on GPUs, gloo on a machine without.
        num_machines: Machines of the run.
        machine_rank: Which one this is, from 0.
        dist_url: ``tcp://HOST:PORT`` of machine 0. On one machine a free port is taken, whatever
            it says: two runs that name one port do not meet.
        distributed: Whether to start processes at all.
        args: Arguments of ``main_func``; they and the function must pickle.
        start_method: ``spawn``, ``forkserver`` or ``fork`` (which is unsafe once CUDA was used).
        startup_timeout: Seconds within which all processes must meet.
        stall_timeout: Seconds after which a process that waits for another one gives up.
        max_restarts: How often all processes are started again when one of them dies. A run with
            ``resume: auto`` goes on; the time that names its folder is that of the first start.

    Raises:
        SystemExit: For an error of basetrainer, after printing its one message: 2 for a wrong
            setting, 75 for a run that was ended by a signal and goes on when it is started again,
            130 for Ctrl-C, 1 for a failed process. In an interactive session the error itself is
            raised.
    """
    num_processes = num_machines * num_gpus_per_machine
    sets_time = _START_TIME not in os.environ
    if sets_time:  # one time for all processes: programs name folders after it
        os.environ[_START_TIME] = datetime.now().isoformat()
    try:
        if distributed and num_machines == 1 and "RANK" not in os.environ:
            for name, value in slurm_group(os.environ).items():
                os.environ.setdefault(name, value)
        if distributed and all(name in os.environ for name in _GROUP):
            alone = os.environ["WORLD_SIZE"] == "1" or _is_interactive()
            times = startup_timeout, stall_timeout
            return run_in_group(main_func, args, *times, _tell, raises=alone)
        warn_of_lone_copies(distributed)
        is_alone = not distributed or num_processes <= 1
        if is_alone and distributed:
            logger.info("one process: gpu_id names one device")
        if is_alone and max_restarts == 0:
            return main_func(*args)
        num_local, num_machines = (1, 1) if is_alone else (num_gpus_per_machine, num_machines)
        check_machines(num_local, num_machines, machine_rank, dist_url)
        check_pickles(main_func, args, start_method)
        settings = _settings(
            num_local, num_machines, machine_rank, dist_url, start_method, startup_timeout
        )
        settings["max_restarts"] = max_restarts
        return _start(settings, main_func, args, startup_timeout, stall_timeout)
    except (BaseTrainerError, KeyboardInterrupt) as error:
        if _is_interactive():
            raise
        kind = {Preempted: "preempted", KeyboardInterrupt: "interrupted"}.get(type(error), "error")
        if os.environ.get("RANK", "0") == "0":
            sys.stderr.write(f"{users_lines(error)}{kind}: {error}\n")
        raise SystemExit(getattr(error, "exit_code", INTERRUPTED)) from None
    finally:
        if sets_time:
            os.environ.pop(_START_TIME, None)


def _settings(
    num_local: int,
    num_machines: int,
    machine_rank: int,
    dist_url: str | None,
    start_method: StartMethod,
    startup_timeout: float,
) -> dict[str, Any]:
    """Return the arguments of torch's LaunchConfig."""
    common: dict[str, Any] = {
        "min_nodes": num_machines,
        "max_nodes": num_machines,
        "nproc_per_node": num_local,
        # Unique per launch: two runs that name the same port must not meet.
        "run_id": f"basetrainer-{uuid.uuid4().hex}",
        "start_method": start_method,
        "rdzv_configs": {"timeout": int(startup_timeout)},
    }
    if num_machines == 1:
        if dist_url not in (None, "auto"):
            _address(str(dist_url))
        # Port 0: the system gives a free one. Of two jobs that name one port, the first would lend
        # its store to the second, and take it along at its end.
        return common | {
            "rdzv_backend": "c10d",
            "rdzv_endpoint": "127.0.0.1:0",
            "rdzv_configs": {**common["rdzv_configs"], "is_host": True},
            "local_addr": "127.0.0.1",
        }
    host, port = _address(str(dist_url))
    configs = {"timeout": int(startup_timeout), "rank": machine_rank}
    return common | {
        "run_id": "basetrainer",  # the machines must agree on it
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{host}:{port}",
        "rdzv_configs": configs,
    }


def _address(dist_url: str) -> tuple[str, int]:
    """Return host and port of ``tcp://HOST:PORT``."""
    try:
        parts = urlsplit(dist_url if "//" in dist_url else f"//{dist_url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None:
        raise ConfigError(f"dist_url: {dist_url!r} must look like tcp://127.0.0.1:28661.")
    return host, port


def _start(
    settings: dict[str, Any],
    main_func: Callable[..., Any],
    args: Sequence[Any],
    startup_timeout: float,
    stall_timeout: float,
) -> Any:
    """Start the processes through torch's elastic agent, and wait for them."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    names = "torch.distributed.elastic", "torch.multiprocessing.spawn"
    levels = {log: log.level for log in map(logging.getLogger, names)}
    if "shutdown_timeout" in {field.name for field in dataclasses.fields(LaunchConfig)}:
        settings["shutdown_timeout"] = _SAVE_TIMEOUT
    with tempfile.TemporaryDirectory(prefix="basetrainer-") as folder:
        config = LaunchConfig(**settings, logs_specs=DefaultLogsSpecs(log_dir=folder))
        for log in levels:  # they tell every failure twice; we tell it once
            log.setLevel(logging.CRITICAL)
        attempts = [Notes(folder, attempt) for attempt in range(settings["max_restarts"] + 1)]
        sweeper = Sweeper(attempts)
        sweeper.start()
        try:
            with handlers_kept(), _garbage_kept():  # the agent leaves its own handlers behind
                results = elastic_launch(config, work)(
                    folder, main_func, tuple(args), startup_timeout, stall_timeout
                )
        except ChildFailedError as error:
            raise _explained(error, attempts[-1]) from None
        except SignalException as error:
            how, note = how_left(attempts), attempts[-1].failure()
            if how is not None or error.sigval == signal.SIGINT:
                raise (how or KeyboardInterrupt()) from None
            if note is not None:
                raise note.error() from None
            name = signal.Signals(error.sigval).name
            raise LaunchError(f"{name} ended the processes.") from None
        finally:
            sweeper.close()
            for log, level in levels.items():
                log.setLevel(level)
        how = how_left(attempts)
        if how is not None:
            raise how
    # The main process of the run is on machine 0.
    result = results.get(0)
    return None if result is None else pickle.loads(result)


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
    """Let forked processes not collect what this one leaves: half of it is threads, and crashes."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _explained(error: Any, notes: Notes) -> BaseTrainerError:
    """Return what the rank that failed first said; how it ended, if it said nothing."""
    note = notes.failure()
    if note is not None and note.type != VANISHED:
        return note.error()
    by_signal = [failure for failure in error.failures.values() if failure.exitcode < 0]
    if note is not None and not by_signal:
        return note.error()
    failure = by_signal[0] if by_signal else error.get_first_failure()[1]
    by = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
    return LaunchError(f"Rank {failure.local_rank} ended with {by} (process {failure.pid}).")


def _tell(note: Note, peers: Peers | None) -> None:
    """Print how a job ended that something else started: once on each machine."""
    error = note.error()
    if peers is None or peers.is_speaker():
        sys.stderr.write(f"{users_lines(error)}error: {error}\n")
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # torchrun shows it at its end
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        try:
            raise error from None  # it records the exception that is being handled
        except BaseTrainerError as raised:
            get_error_handler().record_exception(raised)


def _is_interactive() -> bool:
    """Whether a person would lose his session by an exit."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
