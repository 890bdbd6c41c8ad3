"""Loaders whose order is a function of seed and epoch, dealt to the ranks, and their epochs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from basetrainer.data.order import DealtBatches, TrainOrder, epoch_order, mix
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")
PHASES = ("train", "test", "val")
DEFAULT_SEED = 2020


def build_dataloader(
    dataset: Any,
    batch_size: int,
    num_workers: int,
    shuffle: bool = True,
    phase: str = "train",
    distributed: bool = True,
    *,
    weights: Tensor | None = None,
    **kwargs: Any,
) -> DataLoader[Any]:
    """Make a DataLoader whose samples are dealt to the processes of the run.

    Args:
        dataset: Map-style or iterable; it is not wrapped.
        batch_size: Samples of one batch of one process.
        num_workers: Loader processes; 0 loads in this one.
        shuffle: Whether to shuffle anew each epoch.
        phase: ``train`` gives each rank its part of every global batch; ``test`` and ``val`` deal
            whole batches of the one-process order, without padding or repeating.
        distributed: Whether to deal at all; otherwise every rank sees everything.
        weights: How often to show each sample in relation to the others, one number for each, such
            as :func:`~basetrainer.datasets.balance.sample_weights` gives. For training only.
        **kwargs: Handed to ``DataLoader``. A ``sampler`` or ``batch_sampler`` is taken as it is.

    Raises:
        ConfigError: If a number is impossible, or an epoch would have no batch.
    """
    if phase not in PHASES:
        raise ConfigError(f"phase: {phase!r} is none of {', '.join(PHASES)}.")
    if batch_size < 1:
        raise ConfigError(f"batch_size: {batch_size} must be at least 1.")
    if num_workers < 0:
        raise ConfigError(f"num_workers: {num_workers} must not be negative.")
    if num_workers == 0:
        kwargs.pop("persistent_workers", None)  # DataLoader refuses it without workers
    is_ours = kwargs.get("generator") is None
    if is_ours:  # of its own: iter(DataLoader) otherwise draws from the global one
        kwargs["generator"] = torch.Generator().manual_seed(mix(DEFAULT_SEED))
    context = DistContext.current() if distributed else DistContext()
    own_order = kwargs.get("sampler") is not None or kwargs.get("batch_sampler") is not None
    if isinstance(dataset, IterableDataset) or own_order:
        if weights is not None:
            raise ConfigError("weights: the data has an order of its own. Leave one of them out.")
        if own_order and context.world_size > 1:
            logger.warning("the %s loader has a sampler of its own: every rank follows it", phase)
        if kwargs.get("batch_sampler") is None:
            kwargs["batch_size"] = batch_size
        return _marked(DataLoader(dataset, num_workers=num_workers, **kwargs), is_ours)
    drop_last = bool(kwargs.pop("drop_last", False))
    if phase == "train":
        _check_epoch(len(dataset), batch_size, drop_last, context.world_size)
        sampler = TrainOrder(
            len(dataset),
            batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            rank=context.rank,
            world_size=context.world_size,
            weights=weights,
        )
        loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=num_workers, **kwargs)
        return _marked(loader, is_ours)
    if weights is not None:
        raise ConfigError(f"weights: a {phase} loader shows every sample once. Leave them out.")
    batches = DealtBatches(
        len(dataset),
        batch_size,
        drop_last=drop_last,
        rank=context.rank,
        world_size=context.world_size,
        order=epoch_order(len(dataset), 0, 0) if shuffle else None,
    )
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=num_workers, **kwargs)
    return _marked(loader, is_ours, is_dealt=distributed)


def _marked(loader: DataLoader[Any], is_ours: bool, is_dealt: bool = False) -> DataLoader[Any]:
    """Note on the loader whether its generator is ours, and whether ranks share its data."""
    loader.is_ours, loader.is_dealt = is_ours, is_dealt
    return loader


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


def is_shuffled(loader: Any) -> bool:
    """Whether the loader's order is not, or not surely, that of its dataset."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    batches = loader.batch_sampler
    source = batches.sampler if isinstance(batches, BatchSampler) else batches or loader.sampler
    return not isinstance(source, SequentialSampler) and getattr(source, "shuffle", True)


def length(sized: Any, default: int = 0) -> int:
    """Return ``len(sized)``, or ``default`` where it has none."""
    try:
        return len(sized)
    except TypeError:
        return default


def seed_loader(loader: Any, seed: int, rank: int = 0) -> None:
    """Make a loader of ours follow the run's seed.

    The order is that of the seed on all ranks; what loader workers draw differs by rank.
    """
    if getattr(loader, "is_ours", False):
        if isinstance(loader.sampler, TrainOrder):
            loader.sampler.seed = seed
        loader.generator.manual_seed(mix(seed, rank))


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell the loader's sampler, batch sampler and dataset, if they listen, the epoch."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
        getattr(loader, "dataset", None),
    )
    for listener in {id(part): part for part in parts}.values():
        if callable(tell := getattr(listener, "set_epoch", None)):
            tell(epoch)


class EpochStream:
    """Epochs of ``num_steps`` batches out of any data: it goes on where the last one ended.

    Args:
        loader: Any iterable of batches; it is started again when it ends.
        num_steps: Batches of one epoch.
    """

    def __init__(self, loader: Iterable[Any], num_steps: int) -> None:
        self._batches = _endless(loader)
        self._num_steps = num_steps

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self._batches, self._num_steps)

    def __len__(self) -> int:
        return self._num_steps


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    for number in itertools.count():
        set_epoch(loader, number)
        is_empty = True
        for batch in loader:
            is_empty = False
            yield batch
        if is_empty:
            raise ConfigError(
                f"steps_per_epoch asks for more batches, but pass {number} over the training data "
                f"had none. A generator runs once: give a DataLoader or another iterable."
            )


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
