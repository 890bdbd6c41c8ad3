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
_KEPT_PADDINGS = 4  # who reads ahead asks for that of an earlier epoch


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
    def is_padding(self, epoch: int, number: int) -> bool:
        """Whether a batch only keeps this rank in step with the others, and counts for nothing."""

    @abstractmethod
    def _pass(self, seeds: PassSeeds, start: int) -> Iterator[Any]:
        """Yield the batches of one pass."""

    @abstractmethod
    def __len__(self) -> int: ...


class OrderedBatches(Batches):
    """The batches of an order of ours; any of them can come first at no cost.

    Args:
        order: Of the samples.
        is_batched: Whether batches are asked for; else the samples of the dataset are batches.
    """

    def __init__(self, order: EpochOrder, *, is_batched: bool = True) -> None:
        super().__init__(order)
        self.order = order
        self._is_batched = is_batched

    @property
    def can_start_anywhere(self) -> bool:
        """Always."""
        return True

    def is_padding(self, epoch: int, number: int) -> bool:
        """Whether a batch is the order's filler."""
        return number == getattr(self.order, "filler", None)

    def _pass(self, seeds: PassSeeds, start: int) -> Iterator[Any]:
        order = self.order
        indices = order.order(seeds.epoch).numpy()  # whose slices cost a fifth of a tensor's
        is_seeded = seeds.draws is not Draws.NOTHING
        for number in range(start, order.num_batches):
            places = order.places(number)
            batch = indices[places.start : places.stop].tolist()
            if not self._is_batched:
                yield seeds.single(batch[0], places.start)
                continue
            yield seeds(batch, places, order.global_number(number)) if is_seeded else batch

    def __len__(self) -> int:
        return self.order.num_batches


class ForeignBatches(Batches):
    """The batches of a sampler of the user's, or the requests to an iterable dataset.

    Sharded, they go to the ranks in turn: batch ``k * world_size + rank`` is a rank's k-th one, so
    every rank runs the whole sampler, with the same seeds. In training a last round that has not
    enough for all is filled with its first batch, which counts for nothing on the ranks that get
    it in addition; in tests those ranks have one batch less.

    Args:
        batches: What torch's loader would iterate over.
        passes: Which pass comes next.
        rank: Of this process.
        world_size: Number of processes.
        shards: Whether each rank takes its part of the batches; else it takes all.
        pads: Whether a last round is filled.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        passes: Passes,
        rank: int,
        world_size: int,
        *,
        shards: bool = False,
        pads: bool = True,
    ) -> None:
        super().__init__(passes)
        self._batches = batches
        self._rank, self._world_size = rank, world_size
        self._shards, self._pads = shards, pads
        self._paddings: dict[int, int] = {}  # the padding batch of an epoch

    @property
    def can_start_anywhere(self) -> bool:
        """Whether the sampler is one of torch's that seed and epoch determine."""
        is_plain = type(self._batches) is BatchSampler
        sampler = getattr(self._batches, "sampler", None) if is_plain else self._batches
        return type(sampler) in _REPEATABLE and getattr(sampler, "generator", None) is None

    def is_padding(self, epoch: int, number: int) -> bool:
        """Whether it is the batch that fills the last round of an epoch."""
        return self._paddings.get(epoch) == number

    def _pass(self, seeds: PassSeeds, start: int) -> Iterator[Any]:
        # What is asked of the sampler is numbered alike on all ranks, or else by rank.
        ways, mine = (self._world_size, self._rank) if self._shards else (1, 0)
        skipped = start * ways if self.can_start_anywhere else 0
        asked = self._asked(seeds, start * ways, skipped)
        for number in itertools.count(start):
            found = list(itertools.islice(asked, ways))
            if len(found) <= mine:
                if not found or not self._pads:
                    return
                while len(self._paddings) > _KEPT_PADDINGS:
                    del self._paddings[next(iter(self._paddings))]
                self._paddings[seeds.epoch] = number
            batch = found[mine if mine < len(found) else 0]
            place = self._global_number(number) * _PLACES_OF_A_BATCH
            if isinstance(batch, (list, tuple)):
                places = range(place, place + len(batch))
                batch = seeds(list(batch), places, self._global_number(number))
            elif type(batch) is int:
                batch = seeds.single(batch, place)
            yield batch

    def _asked(self, seeds: PassSeeds, first: int, skipped: int) -> Iterator[Any]:
        """Yield what the user's sampler gives, which runs in this process.

        It draws from the global generators as it likes; sharded, the same on all ranks.
        """
        batches: Iterator[Any] | None = None
        by_rank = (lambda number: number) if self._shards else self._global_number
        for number in itertools.count(first):
            with nullcontext() if seeds.in_process else RngFence():
                if batches is None:
                    seeds.seed_for_indices(by_rank(0))
                    batches = iter(self._batches)
                    next(itertools.islice(batches, skipped, skipped), None)
                if number > 0:
                    seeds.seed_for_indices(by_rank(number))
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            yield batch

    def _global_number(self, number: int) -> int:
        return number * self._world_size + self._rank

    def __len__(self) -> int:
        total = len(self._batches)  # type: ignore[arg-type]
        if not self._shards:
            return total
        rest = self._world_size - 1 if self._pads else self._world_size - 1 - self._rank
        return (total + rest) // self._world_size
