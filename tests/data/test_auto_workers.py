"""num_workers: auto follows from the machine and the kind of data, and is said in one line."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from basetrainer.data import auto_workers as module
from basetrainer.data.auto_workers import auto_workers
from basetrainer.data.loader import build_dataloader
from basetrainer.distributed.context import DistContext
from tests.tiny import tiny_data


class Files(torch.utils.data.Dataset[int]):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return index


class Stream(IterableDataset[int]):
    def __iter__(self):
        return iter(range(3))


GPU = torch.device("cuda")
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "cores", "processes", "threads", "workers"),
    [
        (GPU, 16, 1, 16, 8),
        (GPU, 16, 4, 16, 3),
        (GPU, 4, 1, 4, 3),
        (GPU, 1, 1, 1, 0),
        (GPU, 2, 8, 1, 0),
        (CPU, 2, 1, 2, 0),
        (CPU, 4, 1, 4, 1),
        (CPU, 64, 1, 64, 8),
        (CPU, 4, 1, 1, 3),
        (CPU, 8, 2, 4, 1),
        (CPU, 1, 1, 1, 0),
    ],
)
def test_cores_are_shared_by_step_and_workers(
    monkeypatch, device, cores, processes, threads, workers
):
    monkeypatch.setattr(module, "num_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    context = DistContext(local_world_size=processes, device=device)
    assert auto_workers(Files(), context)[0] == workers


@pytest.mark.parametrize(
    "dataset",
    [
        tiny_data(),
        Subset(tiny_data(), [0, 1]),
        ConcatDataset([tiny_data(), Subset(tiny_data(), [1])]),
        Stream(),
    ],
    ids=["memory", "subset", "concat", "stream"],
)
def test_workers_are_not_used_where_they_cost_more_or_change_the_order(monkeypatch, dataset):
    monkeypatch.setattr(module, "num_cores", lambda: 16)
    assert auto_workers(dataset, DistContext(device=GPU))[0] == 0


def test_the_choice_is_logged_in_one_line(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "num_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    loader = build_dataloader(Files(), 2, "auto")
    assert loader.num_workers == 0
    assert [record.message for record in caplog.records] == [
        "workers : num_workers: auto is 0 (train): 2 cores for this process, which the step "
        "computes on too"
    ]
