"""How a model is spread over devices and processes: the only file that names the wrappers."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from basetrainer._torch_private import without_buffer_sync
from basetrainer._wrappers import answering_to_module
from basetrainer._wrappers import unwrap as unwrap  # the other door to it
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

StrategyName: TypeAlias = Literal["auto", "single", "dp", "ddp", "fsdp2"]
STRATEGIES: tuple[StrategyName, ...] = ("auto", "single", "dp", "ddp", "fsdp2")

_reduced: weakref.WeakKeyDictionary[nn.Module, frozenset[int]] = weakref.WeakKeyDictionary()
_chosen: StrategyName = "auto"
_channels_last = False


def wrap(
    model: nn.Module,
    context: DistContext,
    strategy: StrategyName = "auto",
    *,
    device_ids: Sequence[int] | None = None,
    sync_batchnorm: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Place ``model`` on its device or devices and return what the loop should call.

    Args:
        model: The user's model.
        context: This process's place in the run.
        strategy: ``auto`` is ``ddp`` in a run of several processes, else ``single``.
        device_ids: For ``dp``: the devices that share each batch.
        sync_batchnorm: Whether BatchNorms take mean and variance over all processes. Torch can do
            so on GPUs alone; elsewhere it is left out, with a warning.
        **kwargs: Handed to ``DistributedDataParallel`` (``static_graph``, ``bucket_cap_mb``,
            ``find_unused_parameters``, ...) or, for ``fsdp2``, to ``fully_shard`` (``mp_policy``,
            ``reshard_after_forward``, ...).

    Returns:
        A module whose ``.module`` is the user's model. On one device it is the model itself, and
        ``.module`` an alias that is no registered submodule (a submodule of that name goes first):
        keys stay as they are and a call costs nothing.

    Raises:
        ConfigError: If the strategy does not fit the run.
    """
    if strategy == "auto":
        strategy = "ddp" if context.world_size > 1 else "single"
    model = unwrap(model).to(context.device)
    if strategy in ("ddp", "fsdp2") and context.world_size > 1:
        if sync_batchnorm and context.device.type == "cpu":
            logger.warning("sync_batchnorm: torch has it on GPUs alone; here each rank has its own")
        elif sync_batchnorm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ConfigError(
                "The model has no parameter that requires a gradient: nothing to train."
            )
        if strategy == "fsdp2":
            from basetrainer.distributed.sharding import shard

            return shard(model, context, **kwargs)
        ids = [context.device.index] if context.device.type != "cpu" else None
        wrapper = DistributedDataParallel(model, device_ids=ids, **kwargs)
        reduced_parameters(wrapper)  # now: layers may be unfrozen later
        return wrapper
    if strategy == "dp" and device_ids is not None and len(device_ids) > 1:
        if context.device.type != "cpu":
            logger.warning(
                "DataParallel on devices %s: one process serves them all, which torch itself "
                "advises against. Set distributed: true for one process per device.",
                list(device_ids),
            )
            return DataParallel(model, device_ids=list(device_ids))
        logger.info("gpu_id: %s on a machine without GPUs: one CPU process.", list(device_ids))
    return answering_to_module(model)


def is_sharded(model: nn.Module | None) -> bool:
    """Whether each process has but a part of every parameter."""
    sharded = sys.modules.get("torch.distributed.fsdp")  # loaded by whoever shards
    return sharded is not None and isinstance(model, sharded.FSDPModule)


def is_wrapped(model: nn.Module) -> bool:
    """Whether the replicas of ``model`` in several processes are kept alike."""
    return isinstance(model, DistributedDataParallel) or is_sharded(model)


def reduced_parameters(model: nn.Module) -> frozenset[int]:
    """Return the ids of the parameters whose gradients a wrapper averages over the processes.

    Of DistributedDataParallel they are those that required a gradient when it was made.
    """
    if is_sharded(model):
        return frozenset(map(id, model.parameters()))
    known = _reduced.get(model)
    if known is None:
        known = frozenset(id(one) for one in model.parameters() if one.requires_grad)
        _reduced[model] = known
    return known


def check_precision(model: nn.Module, amp: str | None) -> None:
    """Refuse a precision that the wrapper does not keep.

    Raises:
        ConfigError: For bf16 with DataParallel, whose threads compute in fp16 under autocast.
    """
    if amp == "bf16" and isinstance(model, DataParallel):
        raise ConfigError(
            "amp: bf16 does not reach the threads of DataParallel. Set distributed: true for one "
            "process per GPU, or amp: fp16."
        )


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Skip gradient synchronisation of the forward passes inside; for accumulation."""
    if is_sharded(model):
        from basetrainer.distributed.sharding import unreduced

        return unreduced(model)
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def silenced(model: nn.Module | None) -> AbstractContextManager[None]:
    """Make the gradients of a sharded model 0 in the backward passes inside; None is no model."""
    if model is None:
        return nullcontext()
    from basetrainer.distributed.sharding import silent

    return silent(model)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Give all ranks the same buffers, then let them evaluate without talking to each other.

    DistributedDataParallel broadcasts buffers in each forward pass, in evaluation too, and sharded
    parameters are gathered there. Ranks that evaluate a different number of batches would wait for
    each other for ever.
    """
    if not is_wrapped(model):
        yield
        return
    for buffer in unwrap(model).buffers():
        dist.broadcast(buffer.data, src=0)
    if is_sharded(model):
        with undivided(model):
            yield
        return
    with without_buffer_sync(model):
        yield


def undivided(model: nn.Module) -> AbstractContextManager[None]:
    """Have a sharded model whole on every rank inside; collective at the begin."""
    if not is_sharded(model):
        return nullcontext()
    from basetrainer.distributed.sharding import gathered

    return gathered(model)


def whole(tree: Any) -> Any:
    """Return a tree of dicts and lists with sharded tensors made whole; collective if it has any.

    Only rank 0 keeps them, on the CPU; elsewhere they become None.
    """
    if isinstance(tree, dict):
        made = [(key, whole(value)) for key, value in tree.items()]
        if all(value is tree[key] for key, value in made):
            return tree  # what it is a subclass of, and its metadata, stay
        return dict(made)
    if isinstance(tree, list):
        return [whole(value) for value in tree]
    if not is_shard(tree):
        return tree
    value = tree.full_tensor()
    return value.cpu() if dist.get_rank() == 0 else None


def like(value: Any, shard: Any) -> Any:
    """Return a whole tensor sharded like another one; anything else as it is."""
    if not is_shard(shard) or not isinstance(value, Tensor) or value.shape != shard.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    on_device = value.to(shard.device, shard.dtype)
    # No communication: every rank has the whole.
    return distribute_tensor(on_device, shard.device_mesh, shard.placements, src_data_rank=None)


def is_shard(value: Any) -> bool:
    """Whether a tensor is a part of one that several processes share."""
    tensor = sys.modules.get("torch.distributed.tensor")
    return tensor is not None and isinstance(value, tensor.DTensor)


@contextmanager
def choosing(strategy: StrategyName, *, channels_last: bool = False) -> Iterator[None]:
    """Let :func:`build_model_parallel`, while entered, follow ``cfg``."""
    global _chosen, _channels_last
    before = _chosen, _channels_last
    _chosen, _channels_last = strategy, channels_last
    try:
        yield
    finally:
        _chosen, _channels_last = before


def build_model_parallel(
    model: nn.Module,
    device_ids: Sequence[int] | None = None,
    distributed: bool = True,
    **kwargs: Any,
) -> nn.Module:
    """Spread ``model`` over the devices of the run: :func:`wrap` with the old arguments.

    Args:
        model: The user's model.
        device_ids: ``cfg.gpu_id``; in a run of several processes each takes its own.
        distributed: Whether several processes work together; if not, several GPUs share each
            batch in one process.
        **kwargs: As in :func:`wrap`, ``strategy`` among them; by default it is ``cfg.strategy``.

    Returns:
        A module whose ``.module`` is the user's model; see :func:`wrap`.
    """
    context = DistContext.current(device_ids)
    strategy = kwargs.pop("strategy", _chosen)
    if strategy == "auto" and not distributed:
        strategy = "dp"
    if _channels_last:  # now: DistributedDataParallel lays out its buckets as the weights are
        unwrap(model).to(memory_format=torch.channels_last)
    return wrap(model, context, strategy, device_ids=device_ids, **kwargs)
