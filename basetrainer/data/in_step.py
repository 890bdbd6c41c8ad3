"""Streams of several ranks, which end together or say which rank ended first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset

from basetrainer.data.placed import length
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError, UsageError

_END = object()


def even_lengths(loader: Any, context: DistContext) -> bool:
    """Whether all ranks are known to have the same number of training batches; collective.

    Raises:
        ConfigError: If the numbers are known, and differ.
    """
    dataset = getattr(loader, "dataset", None)
    is_stream = isinstance(dataset, IterableDataset)
    if dataset is None:  # what else has a length may not keep to it
        is_stream = not isinstance(loader, (list, tuple))
    sizes: list[int] = context.gather(-1 if is_stream else length(loader, -1))
    if min(sizes) >= 0 and len(set(sizes)) > 1:
        told = ", ".join(f"rank {rank}: {one}" for rank, one in enumerate(sizes))
        raise ConfigError(
            f"The ranks have different numbers of training batches ({told}), so some would wait "
            f"for others for ever. Load the same dataset on every rank, which is sharded for them, "
            f"or set steps_per_epoch."
        )
    return min(sizes) >= 0


def in_step(batches: Iterable[Any], context: DistContext) -> Iterator[Any]:
    """Yield the batches of a rank as long as all ranks have one; collective at each batch.

    Raises:
        UsageError: If some ranks have no batch left while others have; names the ranks.
    """
    count = 0
    source = iter(batches)
    while True:
        batch = next(source, _END)
        total = int(context.sum(torch.tensor(float(batch is not _END))))
        if total == context.world_size:
            count += 1
            yield batch
        elif total:
            ended = [rank for rank, one in enumerate(context.gather(batch is _END)) if one]
            told = " and ".join(f"rank {rank}" for rank in ended)
            raise UsageError(
                f"The training stream of {told} ended after {count} batches, while other ranks "
                f"have more: they would wait for ever. Give every rank as many batches, set "
                f"steps_per_epoch, or hand in ShardedStream(dataset)."
            )
        else:
            return
