"""Loaders whose order is a function of seed and epoch, dealt to the ranks."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SequentialSampler,
)

from basetrainer.data.auto_workers import auto_workers
from basetrainer.data.epoch_loader import EpochLoader
from basetrainer.data.mover import copies_aside
from basetrainer.data.order import DealtOrder, EpochOrder, TrainOrder, check_epoch
from basetrainer.data.placed import length
from basetrainer.data.ranks import check_stream, own_order, says_sharded, stream_ranks
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")
_ORDER = ("batch_size", "sampler", "batch_sampler", "drop_last")
PHASES = ("train", "test", "val")


def build_dataloader(
    dataset: Any,
    batch_size: int | None,
    num_workers: int | Literal["auto"],
    shuffle: bool = True,
    phase: str = "train",
    distributed: bool = True,
    *,
    weights: Tensor | None = None,
    **kwargs: Any,
) -> EpochLoader:
    """Make a DataLoader whose samples are sharded over the processes of the run.

    Args:
        dataset: Map-style or iterable; it is not wrapped.
        batch_size: Samples of one batch of one process; None if the dataset gives whole batches.
        num_workers: Loader processes; 0 loads in this one, "auto" asks
            :func:`~basetrainer.data.auto_workers.auto_workers`. They live on between epochs unless
            ``persistent_workers`` is False.
        shuffle: Whether to shuffle anew each epoch.
        phase: ``train`` gives each rank its part of every global batch; ``test`` and ``val`` deal
            whole batches of the one-process order, without padding or repeating.
        distributed: Whether to deal at all; otherwise every rank sees everything.
        weights: How often to show each sample in relation to the others, one number for each, such
            as :func:`~basetrainer.datasets.balance.sample_weights` gives. For training only.
        **kwargs: Handed to ``DataLoader``. The batches of a ``sampler`` or ``batch_sampler`` go to
            the processes in turn, unless it is a ``DistributedSampler`` or has
            ``is_sharded = True``. A stream must say so of itself, or be a
            :class:`~basetrainer.data.stream.ShardedStream`. ``pin_memory`` is by default True
            where workers load for a device that copies while it computes (CUDA, XPU).

    Raises:
        ConfigError: If a number is impossible, an epoch would have no batch, or the data cannot
            be sharded.
    """
    if phase not in PHASES:
        raise ConfigError(f"phase: {phase!r} is none of {', '.join(PHASES)}.")
    batch_size = _count("batch_size", batch_size, 1)
    if num_workers == "auto":
        num_workers, reason = auto_workers(dataset)
        logger.info("workers : num_workers: auto is %d (%s): %s", num_workers, phase, reason)
    num_workers = _count("num_workers", num_workers, 0) or 0
    kwargs["num_workers"] = num_workers
    kwargs["persistent_workers"] = num_workers > 0 and kwargs.get("persistent_workers", True)
    kwargs.setdefault("pin_memory", num_workers > 0 and _has_pinned_memory())
    context = DistContext.current() if distributed else DistContext()
    ranks: dict[str, Any] = {"rank": context.rank, "world_size": context.world_size}
    has_order = kwargs.get("sampler") is not None or kwargs.get("batch_sampler") is not None
    if isinstance(dataset, IterableDataset) or has_order:
        if weights is not None:
            raise ConfigError("weights: the data has an order of its own. Leave one of them out.")
        if kwargs.get("batch_sampler") is None:
            kwargs["batch_size"] = batch_size
        return _in_its_own_order(dataset, phase, context, kwargs)
    if (size := length(dataset, -1)) < 0:
        raise ConfigError(
            f"{type(dataset).__name__} has no length, so it has no order. Give it a __len__, "
            f"derive it from torch.utils.data.IterableDataset, or hand in a sampler."
        )
    drops = bool(kwargs.pop("drop_last", False)) and batch_size is not None
    options: dict[str, Any] = {"shuffle": shuffle, "drop_last": drops, **ranks}
    if batch_size is None:
        kwargs["batch_size"] = None
    per_batch = batch_size or 1  # without: the samples of the dataset are batches
    order: EpochOrder
    if phase == "train":
        check_epoch(size, per_batch, context.world_size, drop_last=drops)
        order = TrainOrder(size, per_batch, weights=weights, **options)
        return EpochLoader(dataset, order, **ranks, **kwargs)
    if weights is not None:
        raise ConfigError(f"weights: a {phase} loader shows every sample once. Leave them out.")
    order = DealtOrder(size, per_batch, **options)
    return EpochLoader(dataset, order, is_dealt=distributed, **ranks, **kwargs)


def _in_its_own_order(
    dataset: Any, phase: str, context: DistContext, options: dict[str, Any]
) -> EpochLoader:
    """Make a loader that follows a sampler of the user's, or a stream."""
    phase = "train" if phase == "train" else "test"
    if context.world_size == 1:
        return EpochLoader(dataset, advances=phase == "train", **options)
    if isinstance(dataset, IterableDataset):
        check_stream(dataset, phase, context)
        is_dealt = phase == "test" and says_sharded(dataset) is True
        ranks = stream_ranks(dataset, context)
        return EpochLoader(
            dataset, advances=phase == "train", is_dealt=is_dealt, **ranks, **options
        )
    plain = {name: options[name] for name in _ORDER if name in options}
    given = own_order(DataLoader(dataset, **plain), dataset, phase, context)
    if given is None:
        rank, world_size = context.rank, context.world_size
        return EpochLoader(dataset, rank=rank, world_size=world_size, **options)
    rest = {name: value for name, value in options.items() if name not in _ORDER}
    return EpochLoader(dataset, **given, **rest)


def _count(key: str, value: Any, least: int) -> int | None:
    """Return a setting that must be a whole number, or None where that has a meaning."""
    if value is None and key == "batch_size":
        return None
    given: Any = value
    try:
        number: int | None = -1 if isinstance(value, bool) else operator.index(given)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        unless = ", or None if the dataset gives whole batches" if key == "batch_size" else ""
        raise ConfigError(f"{key}: {value!r} must be a whole number{unless}.")
    if number < least:
        bound = f"must be at least {least}" if least else "must not be negative"
        raise ConfigError(f"{key}: {number} {bound}.")
    return number


def _has_pinned_memory() -> bool:
    """Whether batches had better be pinned: by torch's thread for it, which workers come with.

    Pinning in this process takes the time of the copy to the device that it saves.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is not None and copies_aside(accelerator)


def is_dealt(loader: Any) -> bool:
    """Whether each rank sees its own part of the data, so that figures must be summed."""
    if hasattr(loader, "is_dealt"):
        return bool(loader.is_dealt)
    return says_sharded(loader, getattr(loader, "dataset", None)) is True


def is_shuffled(loader: Any) -> bool:
    """Whether the loader's order is not, or not surely, that of its dataset."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    batches = loader.batch_sampler
    source = batches.sampler if isinstance(batches, BatchSampler) else batches or loader.sampler
    if isinstance(source, DistributedSampler) and source.num_replicas > 1:
        return True
    return not isinstance(source, SequentialSampler) and getattr(source, "shuffle", True)


def seed_loader(loader: Any, seed: int) -> None:
    """Make a loader of ours follow the run's seed, unless it was given a generator.

    Order and draws are those of the seed on all ranks.
    """
    if isinstance(loader, EpochLoader) and loader.is_ours:
        loader.seed = seed


def look_ahead(items: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Yield each item and whether it is the last one."""
    iterator = iter(items)
    try:
        current = next(iterator)
    except StopIteration:
        return
    for following in iterator:
        yield current, False
        current = following
    yield current, True
