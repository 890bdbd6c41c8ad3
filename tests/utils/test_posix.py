"""Child processes and signals: what the system can do is done, what it cannot is left out."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

import pytest

from basetrainer.utils import posix

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
FORK: Any = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def grandchild(by_thread: bool, pids: Any) -> None:
    def wait_for_ever() -> None:
        posix.die_with_parent(from_main_thread=not by_thread)
        pids.send(os.getpid())
        threading.Event().wait()

    process = FORK.Process(target=wait_for_ever)
    process.start()
    threading.Event().wait()


@pytest.mark.parametrize("by_thread", [False, True], ids=["kernel", "thread"])
def test_a_child_ends_when_its_parent_is_killed(by_thread):
    receiver, sender = FORK.Pipe()
    parent = FORK.Process(target=grandchild, args=(by_thread, sender))
    parent.start()
    sender.close()
    assert receiver.recv() != parent.pid
    parent.kill()
    parent.join()
    # The pipe's other end was held by the grandchild: its end is the grandchild's.
    assert receiver.poll(30)
    with pytest.raises(EOFError):
        receiver.recv()


def test_signals_held_back_wait_and_can_then_be_ignored():
    def child(start: Any) -> None:
        start.recv()  # a signal is waiting now
        posix.ignore_stop_signals()
        os._exit(5)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    receiver, sender = FORK.Pipe()
    process = FORK.Process(target=child, args=(receiver,))
    with posix.signals_held_back("fork"):
        assert set(posix.STOP_SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
        process.start()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    os.kill(process.pid, signal.SIGTERM)
    sender.send(None)
    process.join()
    assert process.exitcode == 5


def test_nothing_happens_where_the_system_lacks_the_calls(monkeypatch):
    monkeypatch.delattr(signal, "pthread_sigmask")
    before = signal.getsignal(signal.SIGTERM)
    with posix.signals_held_back("spawn"):
        pass
    posix.die_with_parent()  # the main process has no parent of this kind
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_kernel_is_asked_on_linux_only(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    asked = []
    monkeypatch.setattr(posix, "_ask_kernel", lambda: asked.append(1))
    started: list[Any] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread))

    class Parent:
        pid = os.getppid()
        sentinel = 0

    monkeypatch.setattr(multiprocessing, "parent_process", Parent)
    posix.die_with_parent()
    assert (asked, len(started)) == ([], 1)


def test_freed_memory_can_be_kept_where_the_c_library_is_asked_in_vain_too(monkeypatch):
    asked = []

    class Library:
        def __init__(self, name: object) -> None:
            pass

        def mallopt(self, option: int, value: int) -> int:
            asked.append(option)
            return 1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert posix.keep_freed_memory() is (sys.platform == "linux")
    monkeypatch.delattr(Library, "mallopt")
    assert posix.keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "darwin")
    assert posix.keep_freed_memory() is False
    assert asked in ([], [-3, -1, -2])
