"""Loaders whose order is a function of seed and epoch, dealt to the ranks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from basetrainer.data.auto_workers import auto_workers
from basetrainer.data.epoch_loader import EpochLoader
from basetrainer.data.mover import copies_aside
from basetrainer.data.order import DealtOrder, EpochOrder, TrainOrder
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")
PHASES = ("train", "test", "val")


def build_dataloader(
    dataset: Any,
    batch_size: int,
    num_workers: int | Literal["auto"],
    shuffle: bool = True,
    phase: str = "train",
    distributed: bool = True,
    *,
    weights: Tensor | None = None,
    **kwargs: Any,
) -> EpochLoader:
    """Make a DataLoader whose samples are dealt to the processes of the run.

    Args:
        dataset: Map-style or iterable; it is not wrapped.
        batch_size: Samples of one batch of one process.
        num_workers: Loader processes; 0 loads in this one, "auto" asks
            :func:`~basetrainer.data.auto_workers.auto_workers`. They live on between epochs unless
            ``persistent_workers`` is False.
        shuffle: Whether to shuffle anew each epoch.
        phase: ``train`` gives each rank its part of every global batch; ``test`` and ``val`` deal
            whole batches of the one-process order, without padding or repeating.
        distributed: Whether to deal at all; otherwise every rank sees everything.
        weights: How often to show each sample in relation to the others, one number for each, such
            as :func:`~basetrainer.datasets.balance.sample_weights` gives. For training only.
        **kwargs: Handed to ``DataLoader``. A ``sampler`` or ``batch_sampler`` is taken as it is.
            ``pin_memory`` is by default True where workers load for a device that copies while
            it computes (CUDA, XPU).

    Raises:
        ConfigError: If a number is impossible, or an epoch would have no batch.
    """
    if phase not in PHASES:
        raise ConfigError(f"phase: {phase!r} is none of {', '.join(PHASES)}.")
    if batch_size is None or batch_size < 1:  # None: a config that leaves it empty
        raise ConfigError(f"batch_size: {batch_size} must be at least 1.")
    if num_workers == "auto":
        num_workers, reason = auto_workers(dataset)
        logger.info("workers : num_workers: auto is %d (%s): %s", num_workers, phase, reason)
    if num_workers < 0:
        raise ConfigError(f"num_workers: {num_workers} must not be negative.")
    kwargs["num_workers"] = num_workers
    kwargs["persistent_workers"] = num_workers > 0 and kwargs.get("persistent_workers", True)
    kwargs.setdefault("pin_memory", num_workers > 0 and _has_pinned_memory())
    context = DistContext.current() if distributed else DistContext()
    ranks: dict[str, Any] = {"rank": context.rank, "world_size": context.world_size}
    own_order = kwargs.get("sampler") is not None or kwargs.get("batch_sampler") is not None
    if isinstance(dataset, IterableDataset) or own_order:
        if weights is not None:
            raise ConfigError("weights: the data has an order of its own. Leave one of them out.")
        if own_order and context.world_size > 1:
            logger.warning("the %s loader has a sampler of its own: every rank follows it", phase)
        if kwargs.get("batch_sampler") is None:
            kwargs["batch_size"] = batch_size
        return EpochLoader(dataset, advances=phase == "train", **ranks, **kwargs)
    options: dict[str, Any] = {
        "shuffle": shuffle,
        "drop_last": bool(kwargs.pop("drop_last", False)),
        **ranks,
    }
    order: EpochOrder
    if phase == "train":
        _check_epoch(len(dataset), batch_size, options["drop_last"], context.world_size)
        order = TrainOrder(len(dataset), batch_size, weights=weights, **options)
        return EpochLoader(dataset, order, **ranks, **kwargs)
    if weights is not None:
        raise ConfigError(f"weights: a {phase} loader shows every sample once. Leave them out.")
    order = DealtOrder(len(dataset), batch_size, **options)
    return EpochLoader(dataset, order, is_dealt=distributed, **ranks, **kwargs)


def _has_pinned_memory() -> bool:
    """Whether batches had better be pinned: by torch's thread for it, which workers come with.

    Pinning in this process takes the time of the copy to the device that it saves.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is not None and copies_aside(accelerator)


def _check_epoch(num_samples: int, batch_size: int, drop_last: bool, world_size: int) -> None:
    """Refuse a training set that would give an epoch of no steps."""
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


def is_dealt(loader: Any) -> bool:
    """Whether each rank sees its own part of the data, so that figures must be summed."""
    return bool(getattr(loader, "is_dealt", False))


def filler(loader: Any) -> int | None:
    """Return the number of this rank's batch that counts for nothing; None if there is none.

    It is there where the last global batch has fewer samples than there are ranks.
    """
    number: int | None = getattr(getattr(loader, "order", None), "filler", None)
    return number


def is_shuffled(loader: Any) -> bool:
    """Whether the loader's order is not, or not surely, that of its dataset."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    batches = loader.batch_sampler
    source = batches.sampler if isinstance(batches, BatchSampler) else batches or loader.sampler
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
