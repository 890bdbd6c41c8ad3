"""Pinned memory: when it is asked for, and torch's thread for it, with pinning played."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from torch.utils.data._utils import pin_memory as torchs

from basetrainer.data.loader import build_dataloader
from basetrainer.errors import LoaderError
from tests.data import test_seeding as seeding
from tests.data.pictures import quiet_workers
from tests.tiny import tiny_data

pytestmark = quiet_workers

FORK: dict[str, Any] = {"multiprocessing_context": "fork"}


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let torch believe in a GPU, and return the batches that its thread would have pinned."""
    pinned: list[Any] = []

    def pin(batch: Any, device: str) -> Any:
        pinned.append(device)
        return batch

    found: dict[str, Any] = {
        "current_accelerator": lambda check_available=False: torch.device("cuda"),
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device_index": lambda: 0,
        "set_device_index": lambda device: None,
    }
    for name, answer in found.items():
        monkeypatch.setattr(torch.accelerator, name, answer)
    monkeypatch.setattr(torchs, "pin_memory", pin)
    return pinned


def test_batches_of_workers_are_pinned_where_a_device_gains_by_it(accelerator):
    assert build_dataloader(tiny_data(), 4, 1).pin_memory
    assert not build_dataloader(tiny_data(), 4, 0).pin_memory
    assert not build_dataloader(tiny_data(), 4, 1, pin_memory=False).pin_memory
    assert build_dataloader(tiny_data(), 4, 0, pin_memory=True).pin_memory


@pytest.mark.parametrize("device", [None, torch.device("mps")])
def test_nothing_is_pinned_elsewhere(accelerator, monkeypatch, device):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: device)
    assert not build_dataloader(tiny_data(), 4, 1).pin_memory


def test_the_thread_that_pins_lives_and_ends_with_the_workers(accelerator):
    loader = build_dataloader(tiny_data(), 4, 1, **FORK)
    for _ in range(2):
        assert len(list(loader)) == 3
    assert len(accelerator) >= 6  # and a word between two passes
    next(iter(loader))  # left early, with batches on their way
    iterator: Any = loader._waiting
    thread = iterator._pin_memory_thread
    loader.close()
    assert not thread.is_alive()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_that_cannot_be_pinned_is_told_with_what_to_do(accelerator, monkeypatch, workers):
    def pin(batch: Any, device: str) -> Any:
        raise RuntimeError(
            "cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
        )

    monkeypatch.setattr(torchs, "pin_memory", pin)
    loader = build_dataloader(tiny_data(), 4, workers, pin_memory=True, **(FORK if workers else {}))
    with pytest.raises(LoaderError, match=r"torch\.cuda\.FloatTensor.*pin_memory=False"):
        next(iter(loader))


@pytest.mark.filterwarnings("ignore:.*no accelerator is found")
def test_pinning_changes_nothing_that_is_drawn_nor_where_a_run_goes_on(monkeypatch):
    monkeypatch.setitem(seeding.WAYS, "pinned", {"pin_memory": True})
    assert seeding.hashes(0, "pinned") == seeding.hashes(0, "shuffled")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_is_killed_while_batches_are_pinned_ends_the_pass(accelerator):
    loader = build_dataloader(tiny_data(4000), 1, 1, **FORK)
    batches = iter(loader)
    next(batches)
    iterator: Any = loader._waiting
    thread = iterator._pin_memory_thread
    os.kill(iterator._workers[0].pid, signal.SIGKILL)
    with pytest.raises(LoaderError, match="SIGKILL"):
        list(batches)
    loader.close()
    assert not thread.is_alive()
