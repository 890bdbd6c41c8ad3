"""The random draws of the data: seeded for each sample, and kept apart from those of training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    ConcatDataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
)

from basetrainer.data.order import mix

_SAMPLE, _BATCH, _INDICES = range(3)  # what a seed is for: no two kinds share one


def seed_generators(seed: int) -> None:
    """Seed torch's CPU generator, ``random`` and ``numpy.random`` with a number of 63 bits."""
    # Not torch.manual_seed: it looks after every device and takes 90 times as long.
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


class SampleSeeded(list[int]):
    """The indices of a batch; handing one out seeds the generators for that sample.

    After the last one they are seeded for the batch, if ``collate_fn`` may draw. So the draws do
    not depend on which process asks, nor on what it loaded before.

    Args:
        indices: Of the batch.
        key: What stands for seed and epoch.
        places: The place of each sample in the epoch's order of all ranks.
        number: Of the batch, among those of all ranks; None if ``collate_fn`` draws nothing.
    """

    __slots__ = ("_key", "_number", "_places")

    def __init__(self, indices: Sequence[int], key: int, places: range, number: int | None) -> None:
        super().__init__(indices)
        self._key, self._places, self._number = key, places, number

    def __iter__(self) -> Iterator[int]:
        for place, index in zip(self._places, super().__iter__(), strict=True):
            seed_generators(mix(self._key, _SAMPLE, place))
            yield index
        if self._number is not None:
            seed_generators(mix(self._key, _BATCH, self._number))

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would iterate, and so seed the process that sends the batch.
        return SampleSeeded, (self[:], self._key, self._places, self._number)


class BatchSeeded(list[int]):
    """The indices of a batch; arriving in a loader worker they seed its generators.

    For datasets that take a whole batch at once, and may never iterate over its indices.
    """

    __slots__ = ("_seed",)

    def __init__(self, indices: Sequence[int], seed: int) -> None:
        super().__init__(indices)
        self._seed = seed

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self[:], self._seed)


def _arrived(indices: list[int], seed: int) -> list[int]:
    seed_generators(seed)
    return indices


class IndexSeeded(int):
    """The index of a sample that is no part of a batch; arriving in a worker it seeds."""

    seed: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _index_arrived, (int(self), self.seed)


def _index_arrived(index: int, seed: int) -> int:
    seed_generators(seed)
    return index


class Draws(Enum):
    """What draws from the global generators while a batch is made."""

    SAMPLES = "each sample"
    BOTH = "each sample, and the collate function"
    BATCHES = "a dataset that takes whole batches"
    COLLATE = "the collate function alone"
    NOTHING = "nothing"


def draws_of(dataset: Any, collate_fn: Any) -> Draws:
    """Return what may draw: it decides how often to seed, which is as seldom as can be.

    A dataset draws nothing if it is a TensorDataset, or one of torch's wrappers around such, or
    has ``is_deterministic = True``; a collate function if it is one of torch's own or has
    ``is_deterministic = True``. A dataset of whole batches has ``__getitems__``.
    """
    is_plain = collate_fn in (default_collate, default_convert)
    is_plain = is_plain or getattr(collate_fn, "is_deterministic", None) is True
    if _draws_nothing(dataset):
        return Draws.NOTHING if is_plain else Draws.COLLATE
    if _takes_batches(dataset):
        return Draws.BATCHES
    return Draws.SAMPLES if is_plain else Draws.BOTH


@dataclass(frozen=True)
class PassSeeds:
    """Gives the batches of one pass over the data what they need to be seeded where they are made.

    Args:
        seed: Of the run.
        epoch: Of the pass.
        draws: What draws.
        in_process: Whether the batches are made in this process; else they are sent to workers.
    """

    seed: int
    epoch: int
    draws: Draws
    in_process: bool
    key: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", mix(self.seed, self.epoch))

    def seed_for_indices(self, number: int) -> None:
        """Seed this process for a sampler of the user's that is asked for batch ``number``."""
        seed_generators(mix(self.key, _INDICES, number))

    def __call__(self, indices: list[int], places: range, number: int) -> list[int]:
        """Return the indices of a batch so that they seed.

        Args:
            indices: Of the samples.
            places: Their places in the epoch's order of all ranks.
            number: Of the batch, among those of all ranks.
        """
        if self.draws is Draws.NOTHING:
            return indices
        if self.draws is Draws.SAMPLES:
            return SampleSeeded(indices, self.key, places, None)
        if self.draws is Draws.BOTH:
            return SampleSeeded(indices, self.key, places, number)
        # What a batch decides as a whole is one decision for all ranks, as in one process; what a
        # dataset draws for its samples is not.
        is_shared = self.draws is Draws.COLLATE
        seed = mix(self.key, *((_BATCH, number) if is_shared else (_SAMPLE, places.start)))
        if self.in_process:
            seed_generators(seed)
            return indices
        return BatchSeeded(indices, seed)

    def single(self, index: int, place: int) -> int:
        """Return the index of a sample that is a batch of its own so that it seeds.

        Args:
            index: Of the sample.
            place: Its place in the epoch's order of all ranks.
        """
        if self.draws is Draws.NOTHING:
            return index
        seed = mix(self.key, _SAMPLE, place)
        if self.in_process:
            seed_generators(seed)
            return index
        seeded = IndexSeeded(index)
        seeded.seed = seed
        return seeded


def parts_of(dataset: Any) -> list[Any]:
    """Return the datasets that one of torch's wrappers holds; none for any other dataset."""
    if isinstance(dataset, Subset):
        return [dataset.dataset]
    if isinstance(dataset, ConcatDataset):
        return list(dataset.datasets)
    if isinstance(dataset, StackDataset):
        held = dataset.datasets
        return list(held.values() if isinstance(held, Mapping) else held)
    return []


def _draws_nothing(dataset: Any) -> bool:
    said = getattr(dataset, "is_deterministic", None)
    if isinstance(said, bool):
        return said
    if type(dataset) in (Subset, ConcatDataset, StackDataset):
        return all(map(_draws_nothing, parts_of(dataset)))
    return type(dataset) is TensorDataset


def _takes_batches(dataset: Any) -> bool:
    """Whether the dataset has a ``__getitems__`` that may not go through the indices in turn."""
    if isinstance(dataset, IterableDataset):
        return False
    if type(dataset) is Subset:
        return _takes_batches(dataset.dataset)
    if type(dataset) in (ConcatDataset, StackDataset):
        return False
    return bool(getattr(dataset, "__getitems__", None))
