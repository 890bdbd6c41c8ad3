"""How a model is spread over devices and processes: the only file that names the wrappers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from basetrainer._plain_values import Unwritable, decode, encode
from basetrainer._torch_private import without_buffer_sync
from basetrainer._wrappers import answering_to_module
from basetrainer._wrappers import unwrap as unwrap  # the other door to it
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError, UsageError
from basetrainer.models.fresh import note_changes, regrow

logger = logging.getLogger(__name__)

StrategyName: TypeAlias = Literal["auto", "single", "dp", "ddp", "fsdp2"]
STRATEGIES: tuple[StrategyName, ...] = ("auto", "single", "dp", "ddp", "fsdp2")

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
        return DistributedDataParallel(model, device_ids=ids, **kwargs)
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


def own_state(model: nn.Module) -> dict[str, Any]:
    """Return the state of the user's model as this process has it; shapes are those of the whole.

    It is not collective; see :func:`full_state` for what can be saved.
    """
    return unwrap(model).state_dict()


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of the user's model, with the user's keys; collective.

    Of a sharded model only rank 0 gets it, on the CPU; the others get nothing. What a layer returns
    from ``get_extra_state`` is written so that any file can hold it; what training added to the
    model (buffers that grew, layers that were unfrozen) is noted in its metadata.

    Raises:
        UsageError: If a layer's extra state could not be loaded again; names the layer.
    """
    state: dict[str, Tensor] = whole(own_state(model))
    if is_sharded(model) and dist.get_rank():
        return {}
    for name, value in state.items():
        # A layer that takes its shape from the first batch has no numbers yet.
        if not (isinstance(value, Tensor) and is_lazy(value)):
            try:
                state[name] = encode(value, name)
            except Unwritable as error:
                what = error.reason or f"is a {type(error.value).__qualname__}"
                raise UsageError(
                    f"{error.place} of {type(unwrap(model)).__name__} {what}, so it could not be "
                    f"loaded again. Let buffers and get_extra_state hold tensors, arrays, numbers, "
                    f"texts, lists and dicts of such."
                ) from error
    note_changes(unwrap(model), state)
    return state


def load_full_state(model: nn.Module, state: dict[str, Tensor], *, strict: bool = True) -> None:
    """Load what :func:`full_state` returned, whatever the wrapper then and now.

    Raises:
        RuntimeError: If it is of another model, as ``load_state_dict`` does; or a ValueError, if
            something that training added cannot be added again.
    """
    if is_sharded(model):
        own = own_state(model)
        placed = {name: like(value, own.get(name)) for name, value in state.items()}
        state = type(state)(placed)
    else:
        regrow(unwrap(model), state)
    unwrap(model).load_state_dict(decode(state), strict=strict)


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
