"""Loader workers: what becomes of them, and what is said when one dies."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Dataset

import basetrainer
from basetrainer.data.loader import build_dataloader
from basetrainer.data.workers import _send_the_error, worker_error
from basetrainer.errors import LoaderError
from tests.data.pictures import quiet_workers
from tests.fixtures.programs import TIMEOUT

pytestmark = [
    *quiet_workers,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and processes as on Linux"),
]


class Trouble(Dataset[Any]):
    """Makes sixteen numbers, or trouble at the ninth."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        if index != 8:
            return index
        if self.kind == "raises":
            raise KeyError("no such picture")
        if self.kind == "leaves":
            os._exit(3)
        if self.kind == "cannot be sent":
            return threading.Lock()
        if self.kind == "hangs":
            threading.Event().wait()
        os.kill(os.getpid(), getattr(signal, self.kind))
        return index


def listed(batch: list[Any]) -> list[Any]:
    return batch


def loader_of(kind: str, **options: Any) -> Any:
    return build_dataloader(
        Trouble(kind),
        4,
        2,
        shuffle=False,
        collate_fn=listed,
        multiprocessing_context="fork",
        **options,
    )


def children() -> set[int | None]:
    return {one.pid for one in multiprocessing.active_children()}


@pytest.mark.parametrize("lives_on", [True, False])
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("raises", KeyError, "no such picture"),
        ("leaves", LoaderError, r"ended by itself \(exit code 3\)"),
        ("SIGKILL", LoaderError, "out-of-memory killer"),
        ("SIGSEGV", LoaderError, "crashed .* in the native code"),
        ("SIGBUS", LoaderError, r"ran out of shared memory.* --shm-size"),
        ("cannot be sent", TypeError, "while a DataLoader worker sent its batch"),
    ],
)
def test_a_worker_in_trouble_is_explained_and_no_worker_stays(
    kind, error, message, lives_on, capfd
):
    before = children()
    loader = loader_of(kind, persistent_workers=lives_on)
    with pytest.raises(error, match=message):
        list(loader)
    assert children() <= before


def test_workers_that_are_busy_are_not_waited_for():
    # Left to itself torch would wait for ever for a worker that hangs: 5 s, then once more.
    before = children()
    loader = loader_of("hangs")
    batches = iter(loader)
    assert next(batches) == [0, 1, 2, 3]
    assert len(children() - before) == 2
    del batches
    loader.close()
    assert children() <= before
    passing = iter(loader_of("hangs", persistent_workers=False))
    next(passing)
    del passing
    assert children() <= before


def test_after_trouble_the_loader_starts_new_workers():
    loader = loader_of("raises")
    with pytest.raises(KeyError):
        list(loader)
    loader.dataset.kind = "SIGCONT"  # none
    assert len(list(loader)) == 4
    loader.close()


def test_signals_to_the_whole_job_leave_workers_alive():
    loader = loader_of("SIGTERM")
    assert len(list(loader)) == 4
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        for pid in (worker.pid for worker in loader._waiting._workers):
            os.kill(pid, number)
    assert len(list(loader)) == 4
    loader.close()


def test_a_forked_process_leaves_its_parents_workers_alone():
    loader = loader_of("SIGCONT")
    list(loader)
    pids = [worker.pid for worker in loader._waiting._workers]

    def use_and_close() -> None:
        assert len(list(loader)) == 4  # by workers of its own: its parent's are not its to ask
        assert [worker.pid for worker in loader._waiting._workers] != pids
        loader.close()

    child = multiprocessing.get_context("fork").Process(target=use_and_close)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert [worker.pid for worker in loader._waiting._workers] == pids
    assert len(list(loader)) == 4
    loader.close()


def test_a_users_init_function_is_called_in_the_worker(tmp_path):
    def mark(worker_id: int) -> None:
        (tmp_path / str(worker_id)).touch()

    loader = loader_of("SIGCONT", worker_init_fn=mark)
    list(loader)
    loader.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0", "1"]


def test_a_queue_of_the_datasets_own_fails_as_ever(capsys):
    queue: Any = None  # not asked
    try:
        int("no number")
    except ValueError as error:
        _send_the_error(queue, error, "no batch")
    assert "ValueError: invalid literal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("DataLoader worker (pid 5) is killed by signal: Killed. ", "out-of-memory killer"),
        ("DataLoader worker (pid 5) is killed by signal: Bus error. It is poss", "shared memory"),
        ("DataLoader worker (pid 5) is killed by signal: Aborted. ", r"crashed \(Aborted\)"),
        ("DataLoader worker (pid(s) 5) exited unexpectedly", "exit code unknown"),
        (
            "unable to allocate shared memory(shm) for file </torch_5_1_0>: No space left on "
            "device (28)",
            "shared memory",
        ),
    ],
)
def test_torchs_words_are_understood_wherever_they_are_raised(message, expected):
    outer = RuntimeError("while training")
    outer.__cause__ = RuntimeError(message)
    found = worker_error(outer)
    assert found is not None
    assert re.search(expected, str(found))


def test_other_errors_are_not_taken_for_a_workers_death():
    assert worker_error(RuntimeError("CUDA out of memory")) is None
    assert worker_error(OSError(28, "No space left on device", "/data/run/log.txt")) is None


PROGRAM = """
import os, signal, sys, threading
from torch.utils.data import Dataset
from basetrainer.data.loader import build_dataloader

class Slow(Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, index):
        if index > 8:
            threading.Event().wait()
        return index

if __name__ == "__main__":
    how, method = sys.argv[1:]
    loader = build_dataloader(Slow(), 4, 2, shuffle=False, multiprocessing_context=method)
    batches = iter(loader)
    next(batches)
    print(*(worker.pid for worker in loader._waiting._workers), flush=True)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(4)
"""


@pytest.mark.parametrize(
    ("how", "method", "code"),
    [
        ("killed", "fork", -signal.SIGKILL),
        ("leaves", "fork", 4),
        pytest.param("killed", "spawn", -signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("killed", "forkserver", -signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("leaves", "forkserver", 4, marks=pytest.mark.slow),
    ],
)
def test_busy_workers_end_with_their_parent(tmp_path, how, method, code):
    (tmp_path / "program.py").write_text(PROGRAM)
    root = str(Path(basetrainer.__file__).parents[1])
    # The workers hold its output open: run() returns when they are gone, or fails.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py", how, method],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == code, done.stderr
    assert len(done.stdout.split()) == 2


SMALL_SHM = """
import torch
from basetrainer.data.loader import build_dataloader
from basetrainer.errors import LoaderError
from torch.utils.data import TensorDataset

if __name__ == "__main__":
    data = TensorDataset(torch.zeros(64, 3, 128, 128))
    for collate in (None, torch.stack):  # shared while it is stacked, and while it is sent
        items = data if collate is None else [item for (item,) in data]
        loader = build_dataloader(items, 16, 1, collate_fn=collate, multiprocessing_context="fork")
        try:
            list(loader)
        except LoaderError as error:
            print(error)
"""


@pytest.mark.slow
def test_a_small_shared_memory_is_named(tmp_path):
    (tmp_path / "program.py").write_text(SMALL_SHM)
    mount = "mount -t tmpfs -o size=2m tmpfs /dev/shm"
    private = ["unshare", "-m", "sh", "-c"]
    if subprocess.run([*private, mount], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    done = subprocess.run(
        [*private, f"{mount} && {sys.executable} -W ignore program.py"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(basetrainer.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ran out of shared memory") == 2
    assert "/dev/shm has 2 MiB in all" in done.stdout
