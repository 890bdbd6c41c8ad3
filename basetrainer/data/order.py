"""The order of samples: a pure function of seed and epoch, dealt to the ranks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

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


class TrainOrder(Sampler[int]):
    """This rank's samples of each epoch, in an order of its own.

    A global batch is a slice of the epoch's order, each rank takes its part of it. The last,
    smaller global batch is split as evenly as it goes; where it has fewer samples than there
    are ranks it is left out, since every rank needs one.

    Args:
        num_samples: Samples of the dataset.
        batch_size: Of one rank.
        shuffle: Whether to shuffle anew each epoch.
        drop_last: Whether to leave the last, smaller global batch out.
        rank: Of this process.
        world_size: Number of processes.
        seed: Of the shuffling.
        weights: How often to show each sample in relation to the others, shape ``(num_samples,)``;
            the epoch is then drawn by :func:`~basetrainer.datasets.balance.balanced_order`.

    Raises:
        ConfigError: If the weights do not fit the dataset, or go with ``shuffle=False``.
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
        seed: int = 2020,
        weights: Tensor | None = None,
    ) -> None:
        if weights is not None and not shuffle:
            raise ConfigError(
                "shuffle: False keeps the order of the dataset, weights draw another. Give one."
            )
        self.weights: Tensor | None = None
        if weights is not None:
            from basetrainer.datasets.balance import checked_weights  # loaded by those who need it

            self.weights = checked_weights(weights, num_samples)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.epoch = 0
        global_batch = batch_size * world_size
        self._num_full = num_samples // global_batch
        tail = 0 if drop_last else num_samples % global_batch
        self._tail = tail if tail >= world_size else 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration yields."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = self._order()
        end = self._num_full * self.batch_size * self.world_size
        mine = order[:end].view(-1, self.world_size, self.batch_size)[:, self.rank].reshape(-1)
        tail = order[end : end + self._tail].tensor_split(self.world_size)[self.rank]
        return iter(torch.cat([mine, tail]).tolist())

    def _order(self) -> Tensor:
        """Return the epoch's samples of all ranks, a function of seed and epoch."""
        if self.weights is not None:
            from basetrainer.datasets.balance import balanced_order

            return balanced_order(self.weights, self.num_samples, self.seed, self.epoch)
        if self.shuffle:
            return epoch_order(self.num_samples, self.seed, self.epoch)
        return torch.arange(self.num_samples)

    def __len__(self) -> int:
        share = self._tail // self.world_size + (self.rank < self._tail % self.world_size)
        return self._num_full * self.batch_size + share


class DealtBatches(Sampler[list[int]]):
    """Whole batches of the one-process order, dealt to the ranks in turn.

    Nothing is padded and nothing repeated: together the ranks see every sample once, in the
    very batches that one process would make.

    Args:
        num_samples: Samples of the dataset.
        batch_size: Of a batch.
        drop_last: Whether to leave the last, smaller batch out.
        rank: Of this process.
        world_size: Number of processes.
        order: The one-process order; by default that of the dataset.

    Attributes:
        shuffle: Whether the order is another than the dataset's.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        order: Tensor | None = None,
    ) -> None:
        self.shuffle = order is not None
        indices = torch.arange(num_samples) if order is None else order
        batches = [batch.tolist() for batch in indices.split(batch_size)] if num_samples else []
        if drop_last and batches and len(batches[-1]) < batch_size:
            batches.pop()
        self._batches = batches[rank::world_size]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)
