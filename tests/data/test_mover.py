"""Copies to a device, with a stand-in for torch.cuda that writes down who calls what."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from basetrainer.data import mover
from basetrainer.data.mover import Mover
from basetrainer.utils import torch_tools
from tests.tiny import TinyTrainer

DEVICE = torch.device("meta")  # tensors do move there; it has no streams of its own
Pair = namedtuple("Pair", "image name")


class Streams:
    """What torch.cuda has of streams, and the order in which it was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.recorded: list[tuple[torch.Tensor, str]] = []
        self.made: list[torch.device] = []
        self.now = "main"
        streams = self

        class Stream:
            def __init__(self, device: Any, name: str = "side") -> None:
                streams.made.append(device)
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                streams.calls.append(f"{self.name} waits for {other.name}")

        self.Stream = Stream
        self.main = Stream(None, "main")
        self.made.clear()

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.now = self.now, stream.name
        yield
        self.now = before

    def current_stream(self, device: Any) -> Any:
        assert device == DEVICE
        assert self.now == "main"
        return self.main


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    found = Streams()
    move, modules = torch_tools.tensor_to, torch.get_device_module

    def tensor_to(tensor: torch.Tensor, **options: Any) -> torch.Tensor:
        found.calls.append(f"move on {found.now}")
        return move(tensor, **options)

    def record_stream(tensor: torch.Tensor, stream: Any) -> None:
        found.calls.append(f"record {stream.name}")
        found.recorded.append((tensor, stream.name))

    def get_device_module(device: Any = None) -> Any:
        return found if device == DEVICE else modules(device)

    monkeypatch.setattr(torch, "get_device_module", get_device_module)
    monkeypatch.setattr(mover, "_WITH_STREAMS", ("meta",))
    monkeypatch.setattr(mover, "tensor_to", tensor_to)
    monkeypatch.setattr(torch.Tensor, "record_stream", record_stream)
    return found


def test_a_batch_is_copied_on_a_stream_of_its_own_and_the_step_waits_for_it(streams):
    move = Mover(DEVICE)
    assert streams.made == []
    moved = move([torch.ones(2), torch.zeros(3)])
    assert streams.calls == [
        "move on side",
        "move on side",
        "main waits for side",
        "record main",
        "record main",
    ]
    assert [one.device for one in moved] == [DEVICE, DEVICE]
    assert all(a is b for a, (b, _) in zip(moved, streams.recorded, strict=True))
    move(torch.ones(1))
    assert streams.made == [DEVICE]  # one stream for all batches


def test_every_tensor_of_a_nested_batch_is_kept_until_the_step_has_read_it(streams):
    batch = {"x": (torch.ones(1), [torch.ones(2)]), "pair": Pair(torch.ones(3), "cat"), "n": 4}
    moved = Mover(DEVICE)(batch)
    assert type(moved["x"]) is tuple
    assert moved["pair"].name == "cat"
    assert moved["n"] == 4
    tensors = [moved["x"][0], moved["x"][1][0], moved["pair"].image]
    assert [id(one) for one, _ in streams.recorded] == [id(one) for one in tensors]


def test_what_is_on_the_device_stays_with_the_stream_that_writes_it(streams):
    there = torch.ones(2, device=DEVICE)
    moved = Mover(DEVICE)((there, torch.ones(1)))
    assert moved[0] is there
    assert streams.calls[:2] == ["move on main", "move on side"]
    assert [one is moved[1] for one, _ in streams.recorded] == [True]


def test_sparse_tensors_are_copied_as_before(streams):
    moved = Mover(DEVICE)(torch.eye(2).to_sparse())
    assert moved.device == DEVICE
    assert streams.calls == ["move on main", "main waits for side"]


def test_images_are_laid_out_on_the_side_too(streams):
    moved = Mover(DEVICE, channels_last=True)(torch.ones(2, 3, 4, 4))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert streams.calls[0] == "move on side"


def test_without_streams_a_batch_is_moved_as_it_is():
    moved = Mover(DEVICE)([torch.ones(2), "name"])
    assert moved[0].device == DEVICE
    assert moved[1] == "name"
    assert not any(mover.copies_aside(torch.device(one)) for one in ("cpu", "mps", "meta"))


def test_a_trainer_moves_by_it_and_leaves_batches_for_the_cpu_alone(streams):
    trainer = TinyTrainer({"progress": False})
    batch = [torch.ones(2), torch.zeros(2)]
    assert trainer.to_device(batch) is batch
    trainer.device = DEVICE
    assert trainer.to_device(batch)[0].device == DEVICE
    assert "main waits for side" in streams.calls
