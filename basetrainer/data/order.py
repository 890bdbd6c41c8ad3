"""The order of samples: a pure function of seed and epoch, dealt to the ranks."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from basetrainer.data.placed import DEFAULT_SEED, Passes
from basetrainer.errors import ConfigError

_MASK = (1 << 63) - 1


def mix(*numbers: int) -> int:
    """Return a 63-bit seed that depends on every number, neighbours giving unlike seeds.

    The multiplier and shifts are those of SplitMix64 (Steele, Lea, Flood 2014).
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state + number * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & ((1 << 64) - 1)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & ((1 << 64) - 1)
        state ^= state >> 31
    return state & _MASK


def epoch_order(num_samples: int, seed: int, epoch: int) -> Tensor:
    """Return the indices ``0..num_samples-1`` shuffled, the same on every rank."""
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    return torch.randperm(num_samples, generator=generator)


def check_epoch(num_samples: int, batch_size: int, world_size: int, *, drop_last: bool) -> None:
    """Refuse a training set that would give an epoch of no steps.

    Raises:
        ConfigError: If so.
    """
    if num_samples == 0:
        raise ConfigError("The training set is empty. Look at train_data.")
    global_batch = batch_size * world_size
    if drop_last and num_samples < global_batch:
        raise ConfigError(
            f"batch_size: {batch_size} on {world_size} process(es) needs {global_batch} samples "
            f"for one step, but the training set has {num_samples} and drop_last leaves them all "
            f"out. Lower batch_size or set drop_last to False."
        )
    if num_samples < world_size:
        raise ConfigError(
            f"{world_size} processes cannot share a training set of {num_samples} sample(s)."
        )


class EpochOrder(Passes, Sampler[int], ABC):
    """This rank's samples of each epoch.

    All ranks share one order of the epoch; a *place* is a position in it, from 0. Each batch of a
    rank is a run of places, so that any batch can be had without those before it.

    Args:
        num_samples: Samples of the dataset.
        batch_size: Of one rank.
        shuffle: Whether the order is another than the dataset's.
        drop_last: Whether to leave out the samples that fill no batch.
        rank: Of this process.
        world_size: Number of processes.
        seed: Of the run.
        advances: See :class:`~basetrainer.data.placed.Passes`.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        seed: int = DEFAULT_SEED,
        advances: bool = True,
    ) -> None:
        super().__init__(seed, advances=advances)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size

    @abstractmethod
    def order(self, epoch: int) -> Tensor:
        """Return the epoch's samples of all ranks, a function of seed and epoch."""

    @property
    @abstractmethod
    def num_batches(self) -> int:
        """This rank's batches of an epoch."""

    @abstractmethod
    def places(self, number: int) -> range:
        """Return the places of this rank's batch ``number``."""

    def global_number(self, number: int) -> int:
        """Return the number, among those of all ranks, of this rank's batch ``number``."""
        return number

    def resize(self, num_samples: int) -> None:
        """Follow a dataset that has grown or shrunk; between two passes only."""
        self.num_samples = num_samples

    def fingerprint(self) -> dict[str, int]:
        """Return what must be equal for a place to mean the same samples on all ranks."""
        return {
            "num_samples": self.num_samples,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "global_batch": self.batch_size * self.world_size,
            "num_batches": self.num_batches,
            "seed": self.seed,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
        }

    def __iter__(self) -> Iterator[int]:
        order = self.order(self.epoch)
        for number in range(self.num_batches):
            places = self.places(number)
            yield from order[places.start : places.stop].tolist()

    def __len__(self) -> int:
        """Return the number of this rank's samples of an epoch."""
        last = self.num_batches - 1
        return last * self.batch_size + len(self.places(last)) if last >= 0 else 0


class TrainOrder(EpochOrder):
    """An order of its own for each epoch, of which each rank takes its part of every batch.

    A global batch is a run of places, each rank takes its part of it. The last, smaller global
    batch is split as evenly as it goes; a rank for which none is left shows its first sample, too,
    and the engine lets it count for nothing (see :attr:`filler`).

    Args:
        num_samples, batch_size, **options: See :class:`EpochOrder`.
        weights: How often to show each sample in relation to the others, shape ``(num_samples,)``;
            the epoch is then drawn by :func:`~basetrainer.datasets.balance.balanced_order`.

    Raises:
        ConfigError: If the weights do not fit the dataset, or go with ``shuffle=False``.
    """

    def __init__(
        self, num_samples: int, batch_size: int, *, weights: Tensor | None = None, **options: Any
    ) -> None:
        super().__init__(num_samples, batch_size, **options)
        if weights is not None and not self.shuffle:
            raise ConfigError(
                "shuffle: False keeps the order of the dataset, weights draw another. Give one."
            )
        self.weights: Tensor | None = None
        if weights is not None:
            from basetrainer.datasets.balance import checked_weights  # loaded by those who need it

            self.weights = checked_weights(weights, num_samples)
        self._split()

    def resize(self, num_samples: int) -> None:
        """Follow a dataset that has grown or shrunk; between two passes only.

        Raises:
            ConfigError: If there are weights, or an epoch would have no step.
        """
        if self.weights is not None:
            raise ConfigError(
                f"weights: the dataset has {num_samples} samples now, but weights are given for "
                f"{len(self.weights)}. Build a new loader when a weighted dataset changes."
            )
        check_epoch(num_samples, self.batch_size, self.world_size, drop_last=self.drop_last)
        super().resize(num_samples)
        self._split()

    def _split(self) -> None:
        self._num_full, tail = divmod(self.num_samples, self.batch_size * self.world_size)
        self._tail = 0 if self.drop_last else tail

    def order(self, epoch: int) -> Tensor:
        """Return the epoch's samples of all ranks, a function of seed and epoch."""
        if self.weights is not None:
            from basetrainer.datasets.balance import balanced_order

            return balanced_order(self.weights, self.num_samples, self.seed, epoch)
        if self.shuffle:
            return epoch_order(self.num_samples, self.seed, epoch)
        return torch.arange(self.num_samples)

    def fingerprint(self) -> dict[str, int]:
        """Return what must be equal for a place to mean the same samples on all ranks."""
        weights = b"" if self.weights is None else self.weights.numpy().tobytes()
        return {**super().fingerprint(), "weights": zlib.crc32(weights)}

    @property
    def num_batches(self) -> int:
        """This rank's batches of an epoch, as many as every other rank's."""
        return self._num_full + bool(self._tail)

    @property
    def filler(self) -> int | None:
        """The number of this rank's batch that only keeps it in step; None if it has none."""
        return self._num_full if self.rank >= self._tail > 0 else None

    def places(self, number: int) -> range:
        """Return the places of this rank's batch ``number``."""
        start = number * self.batch_size * self.world_size
        if number < self._num_full:
            start += self.rank * self.batch_size
            return range(start, start + self.batch_size)
        if number == self.filler:
            return range(start, start + 1)
        share, rest = divmod(self._tail, self.world_size)
        start += self.rank * share + min(self.rank, rest)
        return range(start, start + share + (self.rank < rest))


class DealtOrder(EpochOrder):
    """Whole batches of the one-process order, dealt to the ranks in turn; the same every time.

    Nothing is padded and nothing repeated: together the ranks see every sample once, in the
    very batches that one process would make.
    """

    def __init__(self, num_samples: int, batch_size: int, **options: Any) -> None:
        super().__init__(num_samples, batch_size, advances=False, **options)

    def order(self, epoch: int) -> Tensor:
        """Return the samples of all ranks, in every epoch the same."""
        if self.shuffle:
            return epoch_order(self.num_samples, 0, 0)
        return torch.arange(self.num_samples)

    @property
    def num_batches(self) -> int:
        """This rank's batches; other ranks may have one more or less."""
        whole, rest = divmod(self.num_samples, self.batch_size)
        total = whole + (rest > 0 and not self.drop_last)
        return len(range(self.rank, total, self.world_size))

    def places(self, number: int) -> range:
        """Return the places of this rank's batch ``number``."""
        start = self.global_number(number) * self.batch_size
        return range(start, min(start + self.batch_size, self.num_samples))

    def global_number(self, number: int) -> int:
        """Return the number, among those of all ranks, of this rank's batch ``number``."""
        return number * self.world_size + self.rank
