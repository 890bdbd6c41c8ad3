"""RunLock: one run in a folder; the dead do not keep it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from basetrainer.checkpoint import run_lock
from basetrainer.checkpoint.run_folder import EXIT
from basetrainer.checkpoint.run_lock import NAME, STALE, RunLock
from basetrainer.errors import ConfigError
from basetrainer.utils.posix import is_alive, start_of
from tests.tiny import TinyTrainer


def write(folder: Path, age: float = 0.0, **holder: object) -> Path:
    path = folder / NAME
    path.write_text(json.dumps({"since": "then", **holder}))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_second_run_is_refused_naming_the_first(tmp_path):
    first = RunLock(tmp_path)
    first.acquire()
    with pytest.raises(ConfigError) as caught:
        RunLock(tmp_path).acquire()
    assert f"process {os.getpid()} on {platform.node()}" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    first.release()
    assert not list(tmp_path.iterdir())
    second = RunLock(tmp_path)
    second.acquire()
    second.release()


def test_a_killed_holder_of_this_machine_is_noticed_at_once(tmp_path):
    write(tmp_path, host=platform.node(), pid=dead_process(), process_start="1")
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_a_later_process_of_the_same_number_is_not_the_holder(tmp_path):
    write(tmp_path, host=platform.node(), pid=os.getpid(), process_start="0")
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_a_holder_elsewhere_lives_while_its_heart_beats(tmp_path):
    write(tmp_path, host="elsewhere", pid=1, process_start="1")
    with pytest.raises(ConfigError, match="process 1 on elsewhere, since then"):
        RunLock(tmp_path).acquire()
    write(tmp_path, age=STALE + 1, host="elsewhere", pid=1, process_start="1")
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_an_empty_lock_is_one_that_is_being_written_for_a_while(tmp_path):
    (tmp_path / NAME).touch()
    with pytest.raises(ConfigError, match="just starting"):
        RunLock(tmp_path).acquire()
    os.utime(tmp_path / NAME, (1, 1))
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_a_lock_that_another_run_took_over_is_not_given_back(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    write(tmp_path, host="elsewhere", pid=1, process_start="1")
    lock.release()
    assert (tmp_path / NAME).exists()


def test_processes_are_told_from_dead_ones():
    assert is_alive(os.getpid())
    assert not is_alive(dead_process())
    if sys.platform == "linux":
        assert start_of(os.getpid()).isdigit()
        assert start_of(dead_process()) == ""


def test_a_lock_that_another_run_took_in_the_meantime_stays_its(tmp_path, monkeypatch):
    write(tmp_path, host=platform.node(), pid=dead_process(), process_start="1")
    me = os.getpid()
    other: Any = {"host": platform.node(), "pid": me, "process_start": start_of(me)}

    def is_dead(holder: object, age: float) -> bool:
        write(tmp_path, **other)  # the other run was quicker, right after we looked
        return False

    monkeypatch.setattr(run_lock, "_lives", is_dead)
    with pytest.raises(ConfigError, match=f"process {os.getpid()} on "):
        RunLock(tmp_path).acquire()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert json.loads((tmp_path / NAME).read_text()) == {"since": "then", **other}


def test_two_runs_that_keep_taking_it_from_each_other_end(tmp_path, monkeypatch):
    path = write(tmp_path, host=platform.node(), pid=dead_process(), process_start="1")

    def is_dead(holder: object, age: float) -> bool:
        path.unlink()  # the other run has put the dead one's away, and ours comes too late
        return False

    def comes_back(self: RunLock) -> None:
        take_over(self)
        write(tmp_path, host=platform.node(), pid=dead_process(), process_start="1")

    take_over = RunLock._take_over
    monkeypatch.setattr(run_lock, "_lives", is_dead)
    monkeypatch.setattr(RunLock, "_take_over", comes_back)
    with pytest.raises(ConfigError, match="Start one of them"):
        RunLock(tmp_path).acquire()


def test_a_folder_that_was_deleted_under_a_run_is_no_reason_to_fail(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lock = RunLock(folder)
    lock.acquire()
    (folder / NAME).unlink()
    folder.rmdir()
    lock.release()
    assert not folder.exists()


def test_a_lock_that_was_refused_gives_nothing_back(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    with pytest.raises(ConfigError):
        second.acquire()
    second.release()  # of the same process, in the same second: its text is that of the first
    assert (tmp_path / NAME).exists()
    first.release()
    assert not (tmp_path / NAME).exists()


def test_a_heartbeat_that_fails_is_told_once_and_tried_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(run_lock, "HEARTBEAT", 0.01)
    lock = RunLock(tmp_path)
    path, aside = tmp_path / NAME, tmp_path / "aside"
    lock.acquire()
    path.rename(aside)  # as on a disk that cannot be reached
    _wait_until(lambda: "heartbeat failed" in caplog.text)
    time.sleep(0.1)
    os.utime(aside, (1.0, 1.0))
    aside.rename(path)
    _wait_until(lambda: path.stat().st_mtime > 1.0)
    lock.release()
    assert caplog.text.count("heartbeat failed") == 1
    assert str(path) in caplog.text
    assert not path.exists()


def test_a_run_that_cannot_begin_gives_its_lock_back(tmp_path):
    (tmp_path / EXIT).mkdir()  # what is to be removed cannot be
    trainer = TinyTrainer({"work_dir": str(tmp_path), "num_epochs": 1, "resume": "auto"})
    with pytest.raises(OSError, match=EXIT):
        trainer.run()
    assert not (tmp_path / NAME).exists()


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30.0
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
