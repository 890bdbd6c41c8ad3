"""Draws of the data: the same whoever makes a batch, and apart from those of training."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset, TensorDataset
from torch.utils.data import default_collate as plain

from basetrainer.data.collation import Collation
from basetrainer.data.epoch_loader import EpochLoader
from basetrainer.data.loader import build_dataloader
from basetrainer.data.order import TrainOrder
from basetrainer.data.resume import set_epoch, set_position
from basetrainer.data.rng_fence import RngFence
from basetrainer.data.seeding import (
    BatchSeeded,
    Draws,
    PassSeeds,
    SampleSeeded,
    draws_of,
    seed_generators,
)
from tests.data.pictures import Pictures, Stream, digest, draws, mixed, quiet_workers
from tests.tiny import tiny_data

pytestmark = quiet_workers

SUBSET = list(range(39, 4, -1))
WAYS: dict[str, dict[str, Any]] = {
    "shuffled": {},
    "in order": {"shuffle": False},
    "weighted": {"weights": torch.arange(1.0, 36.0)},
    "without the tail": {"drop_last": True},
    "test": {"phase": "test"},
    "sampler": {"sampler": torch.utils.data.RandomSampler(range(35))},
}


def hashes(workers: int, way: str, method: str | None = None) -> list[str]:
    """The hashes of two epochs, and of the second one from its sixth batch on."""
    options: dict[str, Any] = {"collate_fn": mixed, **WAYS[way]}
    if workers:
        options["multiprocessing_context"] = method
    loader = build_dataloader(Subset(Pictures(), SUBSET), 4, workers, **options)
    found = []
    for epoch, step in ((0, 0), (1, 0), (1, 5)):
        assert set_position(loader, epoch, step) == step
        found.append(digest(loader))
    set_epoch(loader, 1)
    assert digest(list(loader)[5:]) == found[2]
    loader.close()
    return found


@pytest.mark.parametrize("way", WAYS)
def test_one_hash_for_any_number_of_workers(way):
    torch.manual_seed(1)
    alone = hashes(0, way)
    assert len(set(alone)) == 3
    torch.manual_seed(2)  # what training draws must not matter
    assert hashes(1, way, "fork") == hashes(2, way, "fork") == alone


def test_one_hash_for_workers_that_start_from_scratch():
    assert hashes(1, "weighted", "spawn") == hashes(0, "weighted")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_one_hash_for_every_way_of_starting_workers(way, method):
    alone = hashes(0, way)
    for workers in (1, 2, 4):
        assert hashes(workers, way, method) == alone


def test_a_sample_shown_twice_in_an_epoch_is_drawn_anew():
    loader = build_dataloader(Pictures(2), 8, 0, weights=torch.tensor([1.0, 1000.0]))
    batch = next(iter(loader))
    assert batch[2].tolist() == [1, 1]
    assert batch[3][0] != batch[3][1]


def test_each_epoch_and_each_run_draws_anew_and_a_test_never():
    seen = set()
    for seed in (1, 2):
        loader = build_dataloader(Pictures(8), 8, 0, shuffle=False)
        loader.seed = seed
        for epoch in (0, 1):
            set_epoch(loader, epoch)
            seen.add(digest(loader))
    assert len(seen) == 4
    test = build_dataloader(Pictures(8), 8, 0, phase="test")
    assert digest(test) == digest(test)


def test_passes_that_nobody_places_are_successive_epochs():
    loader = build_dataloader(Pictures(8), 8, 0)
    found = [digest(loader) for _ in range(3)]
    for epoch in (1, 2, 0):
        order: Any = loader.sampler
        order.set_epoch(epoch)  # as programs do with a DistributedSampler
        assert digest(loader) == found[epoch]


def test_two_ranks_together_make_the_samples_of_one_process():
    def samples(batch_size: int, rank: int = 0, world: int = 1) -> list[list[Any]]:
        order = TrainOrder(22, batch_size, rank=rank, world_size=world)
        loader = EpochLoader(Pictures(22), order, rank=rank, world_size=world)
        set_position(loader, 3, 1)
        return [[digest([sample]) for sample in zip(*batch, strict=True)] for batch in loader]

    whole = samples(8)
    parts = zip(samples(4, 0, 2), samples(4, 1, 2), strict=True)
    assert [sorted(a + b) for a, b in parts] == [sorted(batch) for batch in whole]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_training_draws_does_not_depend_on_the_data(workers):
    options: dict[str, Any] = {"multiprocessing_context": "fork"} if workers else {}
    sampler = torch.utils.data.RandomSampler(range(12))
    loaders = [
        build_dataloader(Pictures(12), 4, workers, collate_fn=mixed, **options),
        build_dataloader(Pictures(12), 4, workers, sampler=sampler, **options),
        build_dataloader(Stream(12), 4, workers, **options),
    ]
    seed_generators(5)
    expected = [draws() for _ in range(3)]
    for loader in loaders:
        seed_generators(5)
        assert [draws() for _ in loader][:3] == expected


def test_the_fence_keeps_the_second_of_two_gaussian_numbers():
    random.seed(3)
    np.random.seed(3)
    expected = [(random.gauss(0, 1), np.random.randn()) for _ in range(2)]
    random.seed(3)
    np.random.seed(3)
    first = random.gauss(0, 1), np.random.randn()
    with RngFence():
        seed_generators(1)
    assert [first, (random.gauss(0, 1), np.random.randn())] == expected


def test_sending_a_batch_draws_nothing_and_keeps_its_seeds():
    seeds = PassSeeds(1, 2, Draws.SAMPLES, in_process=False)
    batch = seeds([5, 7], range(10, 12), 3)
    assert isinstance(batch, SampleSeeded)
    seed_generators(0)
    before = draws()
    seed_generators(0)
    sent = pickle.loads(pickle.dumps(batch))
    assert draws() == before
    assert [(index, draws()) for index in sent] == [(index, draws()) for index in batch]
    after = [draws() for _ in (list(sent), list(batch))]
    assert (sent[:], len(sent)) == ([5, 7], 2)
    assert after


def test_a_batch_for_a_dataset_of_whole_batches_seeds_where_it_arrives():
    seeds = PassSeeds(1, 2, Draws.BATCHES, in_process=False)
    batch = seeds([5, 7], range(10, 12), 3)
    assert isinstance(batch, BatchSeeded)
    found = []
    for _ in range(2):
        assert type(pickle.loads(pickle.dumps(batch))) is list
        found.append(draws())
    assert found[0] == found[1]


class Whole(Dataset[Any]):
    """Takes whole batches and never iterates over their indices."""

    def __len__(self) -> int:
        return 12

    def __getitems__(self, indices: list[int]) -> list[Any]:
        noise = torch.rand(len(indices))
        return list(zip(np.asarray(indices), noise, strict=True))


class Inherits(TensorDataset):
    """May draw for all that is known."""


class Says(Pictures):
    """Says that it draws nothing."""

    is_deterministic = True


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("data", [Whole(), Subset(Whole(), [3, 1, 2, 5])])
def test_a_dataset_of_whole_batches_has_one_hash(workers, data):
    alone = digest(build_dataloader(data, 2, 0))
    by_workers = build_dataloader(data, 2, workers, multiprocessing_context="fork")
    assert digest(by_workers) == alone
    by_workers.close()


@pytest.mark.parametrize(
    ("dataset", "collate", "expected"),
    [
        (Pictures(), plain, Draws.SAMPLES),
        (Subset(Pictures(), [1]), plain, Draws.SAMPLES),
        (ConcatDataset([tiny_data(), Pictures()]), plain, Draws.SAMPLES),
        (StackDataset(tiny_data(), Subset(Pictures(), range(12))), plain, Draws.SAMPLES),
        (Whole(), plain, Draws.BATCHES),
        (Subset(Whole(), [1]), plain, Draws.BATCHES),
        (tiny_data(), plain, Draws.NOTHING),
        (Subset(ConcatDataset([tiny_data(), Says()]), [1]), Collation(), Draws.NOTHING),
        (tiny_data(), mixed, Draws.COLLATE),
        (Pictures(), mixed, Draws.BOTH),
        (Stream(), mixed, Draws.BOTH),
        (Inherits(torch.ones(1)), plain, Draws.SAMPLES),
        (Stream(), plain, Draws.SAMPLES),
    ],
)
def test_generators_are_seeded_as_seldom_as_can_be(dataset, collate, expected):
    assert draws_of(dataset, collate) is expected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_collate_function_that_draws_has_one_hash_over_data_that_do_not(workers):
    images = TensorDataset(torch.rand(12, 3, 4, 4), torch.arange(12) % 5)
    alone = digest(build_dataloader(images, 4, 0, collate_fn=mixed))
    by_workers = build_dataloader(
        images, 4, workers, collate_fn=mixed, multiprocessing_context="fork"
    )
    assert digest(by_workers) == alone
    by_workers.close()


class Private(Dataset[float]):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> float:
        return float(self.rng.random())


def test_a_generator_of_the_datasets_own_is_not_covered():
    # The limit that docs/data_order.md tells: found here if it ever falls.
    loader = build_dataloader(Private(), 4, 0)
    set_epoch(loader, 0)
    first = digest(loader)
    set_epoch(loader, 0)
    assert digest(loader) != first
