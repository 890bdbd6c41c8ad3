"""A rank that fails, vanishes or stalls ends the whole job, and is blamed for it."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine import comm
from basetrainer.engine.launch import launch
from basetrainer.engine.processes.watchdog import Watch
from basetrainer.errors import ConfigError
from scenarios import failing
from scenarios.failing import blames, lose_patience
from tests.fixtures.programs import TIMEOUT
from tests.tiny import TinyTrainer

ROOT = str(Path(__file__).parents[2])


def case(how: str, where: str, rank: int, **more: Any) -> dict[str, Any]:
    return {"how": how, "where": where, "rank": rank, "work_dir": "run", **more}


def exit_file() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Path("run/exit.json").read_text())
    return told


# The whole matrix is benchmarks/failures.py.
@pytest.mark.distributed
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(case("raise", "test", 1), marks=pytest.mark.slow),
        case("SIGKILL", "worker", 1),
        case("exit", "hook", 0),
        case("sys.exit", "train", 1),
        case("stall", "save", 1, stall_limit=300.0, patience=1.0),
    ],
    ids=lambda one: f"{one['how']}-{one['where']}",
)
def test_the_job_ends_and_blames_the_right_rank(settings, capfd):
    with pytest.raises(SystemExit) as caught:
        failing.start(settings)
    assert caught.value.code == 1
    said = capfd.readouterr().err
    assert blames(said, settings), said
    told = exit_file()
    assert (told["code"], told["reason"]) == (1, "failed")
    if settings["how"] == "stall":
        assert said.count("stalled: rank ") == 2  # every rank shows where it is
        assert "the last completed hook is on_test_end" in said
        assert "state_dict" in said.rpartition("error: ")[2]


def end_at_once() -> None:
    os._exit(0)


@pytest.mark.distributed
def test_if_all_ranks_vanish_the_job_ends_too(capfd, monkeypatch):
    monkeypatch.setattr("basetrainer.engine.processes.reaper._NOBODY", 0.5)
    with pytest.raises(SystemExit) as caught:
        launch(end_at_once, 2, start_method="fork")
    assert caught.value.code == 1
    assert "left early: its process" in capfd.readouterr().err


def end_early_outside_of_a_run() -> None:
    if comm.get_rank() == 1:
        sys.exit(0)
    comm.synchronize()


@pytest.mark.distributed
def test_a_rank_that_others_wait_for_at_its_end_left_early(capfd, monkeypatch):
    monkeypatch.setattr("basetrainer.engine.processes.watchdog._LONGEST_GOODBYE", 0.5)
    with pytest.raises(SystemExit) as caught:
        launch(end_early_outside_of_a_run, 2, start_method="fork")
    assert caught.value.code == 1
    said = capfd.readouterr().err
    assert "Rank 1 left early: it came to its end while rank 0 waits for it" in said
    assert "in end_early_outside_of_a_run" in said


def leave_apart() -> str:
    """Rank 0 has something to do when the others are through; all end with sys.exit()."""
    if comm.get_rank() == 0:
        time.sleep(4.0)
        return "done"
    sys.exit(0)


@pytest.mark.distributed
def test_a_rank_may_come_to_its_end_later_than_others():
    assert launch(leave_apart, 2, start_method="fork", stall_timeout=3.0) == "done"


PROGRAM = """
import sys
from scenarios import failing
failing.start({**dict(how=None, where="hook", rank=1, work_dir="run"), **eval(sys.argv[1])})
"""


def torchrun(settings: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    Path("program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *options]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.run(
        [*command, "program.py", repr(settings)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment,
        check=False,
    )


@pytest.mark.distributed
def test_torchrun_too_hears_of_a_rank_that_vanished():
    done = torchrun(case("exit", "hook", 1))
    assert done.returncode == 1
    assert done.stderr.count("error: Rank 1 left early") == 1
    assert "Rank 1 left early" in done.stderr.rpartition("Root Cause")[2]  # torchrun's table
    assert exit_file()["code"] == 1


@pytest.mark.slow
@pytest.mark.distributed
def test_torchrun_does_not_start_a_preempted_job_again():
    done = torchrun(case("SIGTERM", "hook", 1), "--max-restarts", "2")
    assert done.returncode == 1  # torchrun's own
    assert done.stderr.count("preempted: ") >= 1
    told = exit_file()
    assert (told["code"], told["reason"]) == (75, "preempted")
    assert told["epoch"] == 0
    assert told["update"] > failing.SETTINGS["fail_at"]


class Stuck(Callback):
    """Stands still in one hook."""

    def __init__(self, holds_python: bool) -> None:
        super().__init__()
        self.holds_python = holds_python

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 1:
            lose_patience(0.3)
            # A PyDLL keeps Python's lock: no other thread runs meanwhile.
            (ctypes.PyDLL if self.holds_python else ctypes.CDLL)(None).sleep(TIMEOUT)


@pytest.mark.parametrize("holds_python", [False, True])
def test_one_process_that_stalls_says_where_and_ends(holds_python, capfd, monkeypatch):
    monkeypatch.setattr("basetrainer.engine.processes.watchdog._FOR_PYTHON", 0.5)
    cfg = {"num_epochs": 1, "progress": False, "stall_limit": 300.0}
    trainer = TinyTrainer(cfg, [Stuck(holds_python)])
    pid = os.fork()
    if not pid:
        trainer.run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    said = capfd.readouterr().err
    assert "in on_batch_begin" in said
    if not holds_python:
        assert "error: Rank 0 at epoch 1, step 1: nothing was done for 0.3 s" in said
        assert "the last completed hook is on_batch_begin" in said  # that of step 0


def test_a_run_that_goes_on_is_let_be(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(
        "basetrainer.engine.processes.watchdog.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    told: list[Any] = []
    watch = Watch(told.append)

    class Slow(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            now[0] += 0.8  # of one second: in all it is much longer
            assert self.engine is not None
            watch._look_at(self.engine, 1.0)

    trainer = TinyTrainer({"num_epochs": 3, "progress": False}, [Slow()])
    trainer.run()
    assert not told
    watch._look_at(trainer, 1.0)
    now[0] += 1.1
    watch._look_at(trainer, 1.0)
    assert "nothing was done for 1 s" in told[0].message


def test_the_limit_is_checked():
    with pytest.raises(ConfigError, match="stall_limit"):
        TinyTrainer({"stall_limit": 0})
