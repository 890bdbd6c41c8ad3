"""Loaders of the user's own in a run of several processes: sharded, left alone, or refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset

from basetrainer.data.epoch_loader import EpochLoader
from basetrainer.data.order import DealtOrder
from basetrainer.data.placed import Placed, length
from basetrainer.data.stream import ShardedStream
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

_HANDED_ON = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn")
_IF_GIVEN = ("multiprocessing_context", "generator", "prefetch_factor", "in_order")


def says_sharded(*parts: Any) -> bool | None:
    """Return what the first of these that has an ``is_sharded`` says; None if none has.

    True: each rank gets its own part. False: each rank gets everything, and that is meant.
    """
    for part in parts:
        said = getattr(part, "is_sharded", None)
        if isinstance(said, bool):
            return said
    return None


def shard_test_sets(loaders: Any, context: DistContext) -> Any:
    """Return test loaders, one or several by name, as :func:`shard_loader` does."""
    if type(loaders) is dict:
        return {name: shard_loader(one, "test", context) for name, one in loaders.items()}
    return loaders if isinstance(loaders, Mapping) else shard_loader(loaders, "test", context)


def shard_loader(loader: Any, phase: str, context: DistContext) -> Any:
    """Return a loader that gives each rank its part of what this one gives.

    It is the loader itself in a run of one process, where it was made by ``build_dataloader``, has
    a ``DistributedSampler`` for training, or says ``is_sharded = True`` (each rank has its own
    part already) or ``is_sharded = False`` (each rank shall see everything).

    Args:
        loader: Of any kind, or None.
        phase: ``train`` or ``test``.
        context: This process's place in the run.

    Raises:
        ConfigError: If a DataLoader cannot be sharded; says what to do.
    """
    if loader is None or context.world_size == 1 or isinstance(loader, Placed):
        return loader
    dataset = getattr(loader, "dataset", None)
    if says_sharded(loader, dataset) is not None:
        return loader
    if hasattr(loader, "is_dealt"):  # it passes on what one of ours says
        return loader
    kind = type(loader).__name__
    if not isinstance(loader, DataLoader):  # a list cannot say that it is the rank's own part
        logger.warning(
            "the %s loader is a %s: each of %d processes goes through all of it. That is right if "
            "it has this process's part alone; else return self.build_dataloader(dataset, ...)",
            *(phase, kind, context.world_size),
        )
        return loader
    if isinstance(dataset, IterableDataset):
        check_stream(dataset, phase, context)
    options = own_order(loader, dataset, phase, context)
    if options is None:
        return loader
    if type(loader) is not DataLoader:
        raise ConfigError(
            f"{context.world_size} processes: each would {_verb(phase)} all batches of this "
            f"{kind}, which basetrainer cannot rebuild. Give it a DistributedSampler, return "
            f"self.build_dataloader(dataset, ...), or set loader.is_sharded: True if it gives each "
            f"process its own part, False if each process shall see everything."
        )
    options |= {name: getattr(loader, name) for name in _HANDED_ON}
    options |= {name: found for name in _IF_GIVEN if (found := getattr(loader, name, None))}
    options["persistent_workers"] = loader.persistent_workers
    logger.info("the %s loader is sharded over %d processes", phase, context.world_size)
    return EpochLoader(dataset, **options)


def own_order(loader: Any, dataset: Any, phase: str, context: DistContext) -> dict[str, Any] | None:
    """Return the arguments of an ``EpochLoader`` that shards what a sampler gives.

    Args:
        loader: Has ``batch_sampler``, ``sampler``, ``batch_size`` and ``drop_last``.
        dataset: What it loads from.
        phase: ``train`` or ``test``.
        context: This process's place in the run.

    Returns:
        None if the sampler shards by itself.

    Raises:
        ConfigError: If its ranks would not see every test sample once.
    """
    batches, sampler = loader.batch_sampler, loader.sampler
    inner = getattr(batches, "sampler", None)
    is_train = phase == "train"
    ranks = {"rank": context.rank, "world_size": context.world_size}
    for one in (batches, inner, sampler):
        if isinstance(one, DistributedSampler):
            is_plain = (
                type(batches) in (BatchSampler, type(None)) and type(one) is DistributedSampler
            )
            if one.num_replicas != context.world_size:
                raise ConfigError(
                    f"The {phase} loader's DistributedSampler shards over {one.num_replicas} "
                    f"processes, but {context.world_size} run. Leave num_replicas out."
                )
            if is_train:
                return None
            if is_plain and not one.drop_last and loader.batch_size is not None:
                # It repeats samples so that all ranks have as many; this order does not.
                order = DealtOrder(
                    len(one.dataset),  # type: ignore[arg-type]
                    loader.batch_size,
                    shuffle=one.shuffle,
                    drop_last=loader.drop_last,
                    **ranks,
                )
                return {"order": order, "is_dealt": True, **ranks}
            total = length(one.dataset)
            if not one.drop_last and total % context.world_size:
                raise ConfigError(
                    f"The {phase} loader's {type(one).__name__} repeats samples, since {total} are "
                    f"no multiple of {context.world_size} processes, so metrics would count some "
                    f"twice. Return self.build_dataloader(dataset, ..., phase='test')."
                )
            return {**_order_of(loader, dataset), "is_dealt": True, "advances": False, **ranks}
    said = says_sharded(batches, inner, sampler)
    if said is None and any(
        hasattr(one, "num_replicas") and hasattr(one, "rank") for one in (batches, inner, sampler)
    ):
        said = True  # the attributes of torch's
    shards = said is None and not isinstance(dataset, IterableDataset)
    if is_train and not shards:
        return None
    return {
        **_order_of(loader, dataset),
        **ranks,
        "advances": is_train,
        "is_dealt": not is_train and said is not False,
        "shards": shards,
    }


def check_stream(dataset: Any, phase: str, context: DistContext) -> None:
    """Refuse a stream that does not say whether it gives each rank its own part.

    Raises:
        ConfigError: Says how to shard it.
    """
    if context.world_size > 1 and says_sharded(dataset) is None:
        kind = type(dataset).__name__
        raise ConfigError(
            f"{context.world_size} processes: each would {_verb(phase)} the whole stream of "
            f"{kind}. Hand in ShardedStream({kind.lower()}) (from basetrainer.data.stream), or "
            f"set is_sharded = True in {kind} if its __iter__ gives each process its own part, or "
            f"hand build_dataloader distributed=False if each process shall see everything."
        )


def stream_ranks(dataset: Any, context: DistContext) -> dict[str, Any]:
    """Return the rank and number of ranks by which what a stream draws differs."""
    if isinstance(dataset, ShardedStream):  # all ranks go through the same stream
        return {"rank": 0, "world_size": 1}
    return {"rank": context.rank, "world_size": context.world_size}


def _order_of(loader: Any, dataset: Any) -> dict[str, Any]:
    batches = loader.batch_sampler
    if isinstance(dataset, IterableDataset):
        return {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
    if batches is None:
        return {"batch_size": None, "sampler": loader.sampler}
    if type(batches) is BatchSampler and loader.batch_size is not None:
        order = {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
        return {**order, "sampler": batches.sampler}
    return {"batch_sampler": batches}


def _verb(phase: str) -> str:
    return "train on" if phase == "train" else "test"
