"""EpochLoader: it can start anywhere, stays a DataLoader, and notices a changed dataset."""

from __future__ import annotations

import itertools
import logging
import pickle
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
)

from basetrainer.data.loader import build_dataloader
from basetrainer.data.rebinding import bindings, rebound
from basetrainer.data.resume import (
    close_workers,
    fingerprint,
    position_state,
    resume_promise,
    set_epoch,
    set_position,
)
from tests.data.pictures import Counted, Pictures, Stream, Worker, digest, quiet_workers
from tests.tiny import tiny_data

pytestmark = quiet_workers


@pytest.mark.parametrize("step", [0, 1, 3, 5, 7])
def test_a_start_in_the_middle_makes_nothing_twice(step):
    data = Counted(20)
    loader = build_dataloader(data, 3, 0)
    set_epoch(loader, 2)
    whole = [batch.tolist() for batch in loader]
    data.made.clear()
    assert set_position(loader, 2, step) == step
    assert [batch.tolist() for batch in loader] == whole[step:]
    assert data.made == [index for batch in whole[step:] for index in batch]
    assert len(loader) == 7  # a whole pass
    set_epoch(loader, 2)
    assert [batch.tolist() for batch in loader] == whole


class Faulty(Dataset[int]):
    """Numbers, of which one cannot be had."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        if index == 2:
            raise self.error
        return index


def test_a_pass_goes_on_after_a_batch_that_failed_as_torchs_does():
    data = Faulty(OSError("mine"))
    for loader in (DataLoader(data, 2), build_dataloader(data, 2, 0, shuffle=False)):
        batches = iter(loader)
        assert next(batches).tolist() == [0, 1]
        with pytest.raises(OSError, match="mine"):
            next(batches)
        assert [one.tolist() for one in batches] == [[4, 5]]


def test_a_sample_that_raises_stop_iteration_does_not_end_the_epoch_in_silence():
    loader = build_dataloader(Faulty(StopIteration()), 2, 0, shuffle=False)
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        list(loader)


def test_a_position_holds_for_one_pass_only():
    loader = build_dataloader(tiny_data(), 4, 0)
    set_position(loader, 0, 2)
    assert [len(list(loader)) for _ in range(2)] == [1, 3]


def test_it_is_a_dataloader_with_the_attributes_that_people_read():
    data = Subset(tiny_data(), range(11))
    loader = build_dataloader(data, 4, 0, drop_last=True)
    assert isinstance(loader, DataLoader)
    assert loader.dataset is data
    assert (loader.batch_size, loader.drop_last, len(loader)) == (4, True, 2)
    assert isinstance(loader.batch_sampler, BatchSampler)
    assert loader.batch_sampler.sampler is loader.sampler
    assert list(loader.batch_sampler) == [
        one.tolist() for one in torch.tensor(list(loader.sampler)).split(4)
    ]
    test = build_dataloader(data, 4, 0, phase="test", shuffle=False)
    assert test.batch_size == 4
    batches: Any = test.batch_sampler
    assert list(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_it_pickles_with_its_place():
    loader = build_dataloader(tiny_data(), 4, 0)
    set_position(loader, 3, 1)
    copy = pickle.loads(pickle.dumps(loader))
    assert digest(copy) == digest(loader)


SAMPLERS = {
    "SequentialSampler": SequentialSampler(tiny_data()),
    "RandomSampler": RandomSampler(tiny_data()),
    "with replacement": RandomSampler(tiny_data(), replacement=True, num_samples=40),
    "WeightedRandomSampler": WeightedRandomSampler(list(range(1, 13)), 12),
    "DistributedSampler": DistributedSampler(tiny_data(), num_replicas=2, rank=1),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_of_torchs_start_anywhere(name):
    torch.manual_seed(0)
    loader = build_dataloader(Pictures(12), 4, 0, sampler=SAMPLERS[name])
    assert loader.sampler is SAMPLERS[name]
    assert resume_promise(loader) == ("bit-exact", "")
    set_epoch(loader, 1)
    whole = list(loader)
    torch.manual_seed(1)
    assert set_position(loader, 1, 1) == 1
    assert digest(loader) == digest(whole[1:])
    if name != "SequentialSampler":
        set_epoch(loader, 2)
        assert [one.tolist() for one in next(iter(loader))[2:3]] != [whole[0][2].tolist()]


class Tens(BatchSampler):
    """A batch sampler of somebody's own."""


class Endless(IterableDataset[int]):
    """Numbers without a place."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        (lambda: DataLoader(tiny_data()), "not made by build_dataloader"),
        (lambda: [1, 2], "not made by build_dataloader"),
        (
            lambda: build_dataloader(tiny_data(), 4, 0, sampler=[1, 2, 3]),
            "a sampler that it cannot repeat",
        ),
        (
            lambda: build_dataloader(
                tiny_data(), 4, 0, sampler=RandomSampler(tiny_data(), generator=torch.Generator())
            ),
            "a sampler that it cannot repeat",
        ),
        (
            lambda: build_dataloader(
                tiny_data(), 4, 0, batch_sampler=Tens(range(12), 4, drop_last=False)
            ),
            "a sampler that it cannot repeat",
        ),
        (lambda: build_dataloader(tiny_data(), 4, 1, in_order=False), "in_order=False"),
        (lambda: build_dataloader(Stream(), 4, 1), "num_workers: 0"),
        (lambda: build_dataloader(Endless(), 4, 0), "has no state_dict"),
    ],
)
def test_what_cannot_start_in_the_middle_says_why(loader, why):
    made = loader()
    level, reason = resume_promise(made)
    assert level == "from the epoch's start"
    assert why in reason
    assert set_position(made, 1, 2) == 0
    assert position_state(made, 1, 2) == {}


def test_an_iterable_dataset_goes_on_from_its_own_state():
    loader = build_dataloader(Stream(10), 3, 0)
    assert resume_promise(loader) == ("bit-exact", "")
    set_epoch(loader, 4)
    whole = []
    for batch in loader:
        whole.append(batch)
    state = position_state(loader, 4, 2)  # two batches behind what was read
    assert state == {"dataset": {"place": 6}}
    again = build_dataloader(Stream(10), 3, 0)
    assert set_position(again, 4, 2, state) == 2
    assert digest(again) == digest(whole[2:])
    assert set_position(again, 5, 2) == 0  # no state, no place


class Onward(Stream):
    """Goes on in each epoch where the last one ended."""

    def __iter__(self) -> Iterator[Any]:
        for _ in range(5):
            self.place += 1
            yield self.place


def test_an_iterable_dataset_that_goes_on_across_epochs_is_resumed_between_them():
    loader = build_dataloader(Onward(), 5, 0)
    list(loader)
    state = position_state(loader, 1, 0)
    again = build_dataloader(Onward(), 5, 0)
    assert set_position(again, 1, 0, state) == 0
    assert [one.tolist() for one in again] == [[6, 7, 8, 9, 10]]


def test_a_dataset_that_follows_the_epochs_reaches_workers_that_live_on(caplog):
    class Growing(Worker):
        def set_epoch(self, epoch: int) -> None:
            self.mosaic = epoch < 2

    caplog.set_level(logging.INFO)
    loader = build_dataloader(Growing(), 8, 1, multiprocessing_context="fork")
    for epoch in (0, 3, 1, 4):
        set_epoch(loader, epoch)
        assert {bool(flag) for _, flags in loader for flag in flags} == {epoch < 2}
    assert caplog.text.count("loader workers start again") == 1
    close_workers(loader)
    close_workers([1])
    assert loader._waiting is None


def test_a_generator_that_is_given_seeds_the_order():
    def order(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        loader = build_dataloader(tiny_data(), 4, 0, generator=generator)
        assert loader.generator is generator
        return list(loader.sampler)

    assert order(1) == order(1) != order(2)


def test_a_fingerprint_tells_what_shapes_the_order():
    def of(**options: Any) -> dict[str, int]:
        return fingerprint(build_dataloader(Counted(20), 3, 0, **options))

    base = of()
    assert base["num_samples"] == 20
    assert base["global_batch"] == 3
    assert base["num_batches"] == 7
    assert all(type(value) is int for value in base.values())
    others = [
        of(shuffle=False),
        of(drop_last=True),
        of(weights=torch.ones(20)),
        of(weights=torch.arange(1.0, 21.0)),
        of(generator=torch.Generator().manual_seed(1)),
        fingerprint(build_dataloader(Counted(21), 3, 0)),
        fingerprint(build_dataloader(Counted(20), 4, 0)),
    ]
    assert base not in others
    assert fingerprint([1, 2, 3]) == {"num_samples": 0, "num_batches": 3}
    streamed = fingerprint(build_dataloader(Stream(), 4, 0))
    assert streamed == {"num_samples": 0, "num_batches": 0, "batch_size": 4, "seed": 2020}


def test_workers_live_on_until_an_attribute_of_the_dataset_is_rebound(caplog):
    caplog.set_level(logging.INFO)
    data = Worker()
    loader = build_dataloader(
        ConcatDataset([Subset(data, range(4))]), 2, 1, multiprocessing_context="fork"
    )

    def epoch() -> tuple[set[int], set[bool]]:
        batches = list(loader)
        return (
            {int(one) for pids, _ in batches for one in pids},
            {bool(one) for _, flags in batches for one in flags},
        )

    first = epoch()
    assert first == epoch()
    assert loader.persistent_workers
    data.size = 2 * 4  # equal: nothing changed
    assert first == epoch()
    data.mosaic = False
    second = epoch()
    assert second[1] == {False}
    assert second[0] != first[0]
    assert second == epoch()
    lines = [one.message for one in caplog.records if "loader workers" in one.message]
    assert lines == [
        "loader workers start again, since these changed: dataset.datasets[0].dataset.mosaic"
    ]
    loader.close()


def test_workers_need_not_live_on():
    loader = build_dataloader(
        Worker(), 4, 1, persistent_workers=False, multiprocessing_context="fork"
    )
    pids = [{int(one) for pids, _ in loader for one in pids} for _ in range(2)]
    assert pids[0] != pids[1]


class Changing(Dataset[int]):
    """Has attributes of many kinds."""

    flag = True

    def __init__(self) -> None:
        self.number = 1000
        self.items = [1, 2]

    @cached_property
    def table(self) -> dict[str, int]:
        return {"a": 1}


def test_rebinding_is_told_from_what_changes_nothing():
    data = Changing()
    before = bindings(data)
    assert data.table
    data.number = int("1000")
    assert rebound(before, bindings(data)) == []
    data.items = [1, 2]
    data.flag = False
    del data.number
    assert sorted(rebound(before, bindings(data))) == [
        "dataset.flag",
        "dataset.items",
        "dataset.number",
    ]


def test_a_dataset_that_holds_itself_has_an_end():
    data: Any = Changing()
    data.dataset = data
    assert "dataset.number" in bindings(data)
