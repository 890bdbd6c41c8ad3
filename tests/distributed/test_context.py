"""DistContext: which device a process gets, and what it says when there is none for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from basetrainer.distributed import context
from basetrainer.distributed.context import DistContext, pick_device
from basetrainer.distributed.shared_flag import SharedFlag
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch says on a machine with two GPUs; no GPU is touched."""
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)


def test_without_accelerators_it_is_the_cpu_whatever_the_ids():
    assert pick_device([0, 1, 7], local_rank=2) == torch.device("cpu")


@pytest.mark.parametrize(("ids", "rank", "index"), [(None, 1, 1), ([1], 0, 1), ([1, 0], 1, 0)])
def test_each_process_gets_the_accelerator_of_its_place(
    two_gpus: None, ids: Sequence[int] | None, rank: int, index: int
):
    assert pick_device(ids, rank) == torch.device("cuda", index)


@pytest.mark.parametrize(
    ("ids", "rank", "message"),
    [
        ([2], 0, "asks for cuda device 2, but this machine has 2, numbered from 0 to 1"),
        ([0], 1, "process 1 of this machine needs one too"),
    ],
)
def test_an_accelerator_that_is_not_there_is_an_error(
    two_gpus: None, ids: Sequence[int], rank: int, message: str
):
    with pytest.raises(ConfigError, match=message):
        pick_device(ids, rank)


def test_more_processes_than_gpus_are_refused_before_they_start(two_gpus: None, capsys):
    with pytest.raises(SystemExit) as caught:
        launch(print, 3)
    assert caught.value.code == 2
    assert "gpu_id asks for 3 devices, but this machine has 2" in capsys.readouterr().err


def test_alone_the_collectives_are_the_identity():
    context = DistContext()
    value = torch.tensor([1.0, 2.0])
    assert context.sum(value) is value
    assert torch.equal(context.mean(value), value)
    assert context.gather("a") == ["a"]
    assert context.broadcast("a") == "a"
    assert context.is_main
    flag = SharedFlag(context)
    assert [flag.poll(False), flag.poll(True), flag.settle(True)] == [False, True, True]


@pytest.mark.parametrize(
    "name",
    [
        "LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "MPI_LOCALRANKID",
        "PMIX_LOCAL_RANK",
        "SLURM_LOCALID",
    ],
)
def test_the_local_rank_is_what_the_launcher_says(monkeypatch, name):
    for other in context._LOCAL_RANKS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "3")
    assert context._local_rank.__wrapped__() == 3


def test_torchruns_local_rank_comes_before_that_of_the_job_around_it(monkeypatch):
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "none")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert context._local_rank.__wrapped__() == 1
    monkeypatch.delenv("LOCAL_RANK")
    assert context._local_rank.__wrapped__() == 0


def test_a_launcher_that_does_not_say_it_gets_a_device_by_rank_and_a_warning(
    monkeypatch, two_gpus: None, caplog
):
    for name in context._LOCAL_RANKS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(context.dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(context.dist, "get_rank", lambda: 3)
    assert context._local_rank.__wrapped__() == 1
    assert "rank 3 takes device 1" in caplog.text
