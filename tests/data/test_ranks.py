"""Loaders of the user's own on two ranks, through one launch; sizes, growth, whole batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    WeightedRandomSampler,
)

from basetrainer.data.loader import build_dataloader, is_dealt
from basetrainer.data.placed import length
from basetrainer.data.ranks import shard_loader
from basetrainer.data.resume import resume_promise, set_position
from basetrainer.data.stream import ShardedStream
from basetrainer.distributed.context import DistContext
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError

NUM = 21


class Ids(Dataset[int]):
    """Samples that are their own index; may grow."""

    def __init__(self, size: int = NUM) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


class Buckets:
    """Batches of unlike lengths, an odd number of them."""

    def __iter__(self) -> Any:
        return iter([[0, 1, 2], [3, 4], [5], [6, 7, 8, 9], [10]])

    def __len__(self) -> int:
        return 5


class Stream(IterableDataset[int]):
    """Does not say whether it is sharded."""

    def __iter__(self) -> Any:
        return iter(range(NUM))


class Parts(Stream):
    """Shards itself, and says so."""

    is_sharded = True

    def __iter__(self) -> Any:
        return iter(range(DistContext.current().rank, NUM, 2))


def plain(*args: Any, **options: Any) -> Any:
    phase = options.pop("phase")
    return shard_loader(DataLoader(*args, **options), phase, DistContext.current())


def loaders(phase: str) -> dict[str, Any]:
    ids = Ids()
    options: dict[str, Any] = {"phase": phase}
    return {
        "shuffled": plain(ids, 4, shuffle=True, **options),
        "random": build_dataloader(ids, 4, 0, sampler=RandomSampler(ids), **options),
        "weighted": build_dataloader(
            ids, 4, 0, sampler=WeightedRandomSampler([1.0] * NUM, NUM), **options
        ),
        "buckets": build_dataloader(ids, 4, 0, batch_sampler=Buckets(), **options),
        "buckets of workers": plain(ids, batch_sampler=Buckets(), num_workers=1, **options),
        "whole batches": build_dataloader(ids, None, 0, **options),
        "DistributedSampler": plain(ids, 4, sampler=DistributedSampler(ids), **options),
        "stream": build_dataloader(
            ShardedStream(Stream(), drop_last=phase == "train"), 4, 0, **options
        ),
        "parts": build_dataloader(Parts(), 4, 0, **options),
    }


def look() -> dict[tuple[str, str], list[Any]]:
    context = DistContext.current()
    found: dict[tuple[str, str], list[Any]] = {}
    for phase in ("train", "test"):
        for name, loader in loaders(phase).items():
            batches = [torch.as_tensor(batch).reshape(-1).tolist() for batch in loader]
            tell = getattr(loader, "is_padding", lambda epoch, number: False)
            padding = [number for number in range(len(batches)) if tell(0, number)]
            said = length(loader, -1)
            found[phase, name] = context.gather((batches, padding, said, is_dealt(loader)))
        for bad in (
            lambda phase=phase: build_dataloader(Stream(), 4, 0, phase=phase),
            lambda phase=phase: plain(Stream(), batch_size=4, phase=phase),
        ):
            with pytest.raises(ConfigError, match="Hand in ShardedStream"):
                bad()
    alone = build_dataloader(Ids(), 4, 0, shuffle=False, distributed=False)
    found["train", "alone"] = context.gather(torch.cat(list(alone)).tolist())
    return found


@pytest.mark.distributed
def test_two_ranks_share_what_any_loader_gives():
    found = launch(look, 2, start_method="fork")
    assert found.pop(("train", "alone")) == [list(range(NUM))] * 2
    for (phase, name), ranks in found.items():
        counted, lengths = [], {len(batches) for batches, *_ in ranks}
        for batches, padding, said, deals in ranks:
            kept = [one for number, one in enumerate(batches) if number not in padding]
            counted += [sample for batch in kept for sample in batch]
            assert said in (len(batches), -1), (phase, name)
            assert deals == (phase == "test"), (phase, name)
        if phase == "train" and name != "parts":
            assert len(lengths) == 1, name
        if name == "weighted":
            assert len(counted) == NUM
            continue
        everything = list(range(11 if name.startswith("buckets") else NUM))
        if phase == "train" and name == "stream":
            everything.pop()  # there is none for the other rank
        if phase == "train" and name == "DistributedSampler":
            assert set(counted) == set(everything)  # left alone: it repeats one
            continue
        assert sorted(counted) == everything, (phase, name)
    assert found["train", "buckets"][1][:2] == ([[3, 4], [6, 7, 8, 9], [10]], [2])


def test_ranks_share_the_batches_that_one_process_would_make():
    sampler = RandomSampler(Ids())
    whole = [one.tolist() for one in build_dataloader(Ids(), 4, 0, sampler=sampler)]
    for rank in range(2):
        loader = shard_loader(
            DataLoader(Ids(), 4, sampler=sampler), "train", DistContext(rank=rank, world_size=2)
        )
        assert [one.tolist() for one in loader] == whole[rank::2]
        assert resume_promise(loader) == ("bit-exact", "")
        set_position(loader, 0, 1)
        assert [one.tolist() for one in loader] == whole[rank::2][1:]


@pytest.mark.parametrize("batch_size", ["8", 8.0, True, 0])
def test_a_batch_size_that_is_none_is_refused_in_words(batch_size):
    with pytest.raises(ConfigError, match="batch_size: "):
        build_dataloader(Ids(), batch_size, 0)


class Drawn(Ids):
    """Each sample is a batch, drawn at random."""

    def __getitem__(self, index: int) -> Any:
        return torch.rand(3) + index


@pytest.mark.parametrize("workers", [0, 1])
def test_whole_batches_of_the_dataset_are_a_function_of_their_place(workers):
    loader = build_dataloader(Drawn(6), None, workers)
    whole = list(loader)
    assert len(loader) == len(whole) == 6
    assert len({float(one.frac().sum()) for one in whole}) == 6
    set_position(loader, 0, 4)
    for batch, expected in zip(loader, whole[4:], strict=True):
        assert torch.equal(batch, expected)
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_that_grows_is_seen_at_the_next_epoch(workers):
    data = Ids(6)
    loader = build_dataloader(data, 4, workers)
    for size in (6, 11, 3):
        data.size = size
        assert sorted(torch.cat(list(loader)).tolist()) == list(range(size))
        assert len(loader) == -(-size // 4)
    loader.close()


@pytest.mark.parametrize("error", [TypeError, NotImplementedError, RuntimeError])
def test_a_length_that_raises_is_not_known(error):
    class Unsized:
        def __len__(self) -> int:
            raise error("no length")

    assert length(Unsized(), -1) == -1
