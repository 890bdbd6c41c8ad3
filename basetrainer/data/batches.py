"""The batches of indices that a loader asks for: placed in the epoch, carrying their seeds."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from basetrainer.data.order import EpochOrder
from basetrainer.data.placed import Passes
from basetrainer.data.rng_fence import RngFence
from basetrainer.data.seeding import Draws, PassSeeds

# All that these draw, they draw when they are first asked.
_REPEATABLE = (
    *(SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler),
    DistributedSampler,
)
_PLACES_OF_A_BATCH = 1 << 24  # no order is known: batches of any size must not share a place


class Batches(ABC):
    """What a loader iterates over in the place of its batch sampler.

    Args:
        passes: Which pass comes next.

    Attributes:
        is_asked: Whether somebody has iterated over it; to be set to False before.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.is_asked = False
        self._place = (0, 0)
        self._draws = Draws.SAMPLES
        self._in_process = True

    def begin(self, draws: Draws, *, in_process: bool) -> tuple[int, int]:
        """Begin a pass, and return its epoch and first batch; loaders ask for it more than once.

        Args:
            draws: What draws while a batch is made.
            in_process: Whether batches are made in this process.
        """
        self._draws, self._in_process = draws, in_process
        self._place = self.passes.begin()
        return self._place

    def __iter__(self) -> Iterator[Any]:
        self.is_asked = True
        epoch, start = self._place
        return self._pass(PassSeeds(self.passes.seed, epoch, self._draws, self._in_process), start)

    @property
    @abstractmethod
    def can_start_anywhere(self) -> bool:
        """Whether a pass that begins at batch k is the rest of the whole one."""

    @abstractmethod
    def _pass(self, seeds: PassSeeds, start: int) -> Iterator[Any]:
        """Yield the batches of one pass."""

    @abstractmethod
    def __len__(self) -> int: ...


class OrderedBatches(Batches):
    """The batches of an order of ours; any of them can come first at no cost."""

    def __init__(self, order: EpochOrder) -> None:
        super().__init__(order)
        self.order = order

    @property
    def can_start_anywhere(self) -> bool:
        """Always."""
        return True

    def _pass(self, seeds: PassSeeds, start: int) -> Iterator[list[int]]:
        order = self.order
        indices = order.order(seeds.epoch).numpy()  # whose slices cost a fifth of a tensor's
        is_seeded = seeds.draws is not Draws.NOTHING
        for number in range(start, order.num_batches):
            places = order.places(number)
            batch = indices[places.start : places.stop].tolist()
            yield seeds(batch, places, order.global_number(number)) if is_seeded else batch

    def __len__(self) -> int:
        return self.order.num_batches


class ForeignBatches(Batches):
    """The batches of a sampler of the user's, or the requests to an iterable dataset.

    Args:
        batches: What torch's loader would iterate over.
        passes: Which pass comes next.
        rank: Of this process.
        world_size: Number of processes.
    """

    def __init__(self, batches: Iterable[Any], passes: Passes, rank: int, world_size: int) -> None:
        super().__init__(passes)
        self._batches = batches
        self._rank, self._world_size = rank, world_size

    @property
    def can_start_anywhere(self) -> bool:
        """Whether the sampler is one of torch's that seed and epoch determine."""
        is_plain = type(self._batches) is BatchSampler
        sampler = getattr(self._batches, "sampler", None) if is_plain else self._batches
        return type(sampler) in _REPEATABLE and getattr(sampler, "generator", None) is None

    def _pass(self, seeds: PassSeeds, start: int) -> Iterator[Any]:
        batches: Iterator[Any] | None = None
        for number in itertools.count(start):
            global_number = self._global_number(number)
            # A sampler runs in this process, and draws from the global generators as it likes.
            with nullcontext() if seeds.in_process else RngFence():
                if batches is None:
                    seeds.seed_for_indices(self._global_number(0))
                    skipped = start if self.can_start_anywhere else 0
                    batches = iter(self._batches)
                    next(itertools.islice(batches, skipped, skipped), None)
                if number > 0:
                    seeds.seed_for_indices(global_number)
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            if isinstance(batch, list):
                place = global_number * _PLACES_OF_A_BATCH
                batch = seeds(batch, range(place, place + len(batch)), global_number)
            yield batch

    def _global_number(self, number: int) -> int:
        return number * self._world_size + self._rank

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]
