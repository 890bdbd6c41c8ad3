"""How a model is spread over devices and processes: the only file that names the wrappers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

StrategyName: TypeAlias = Literal["auto", "single", "dp", "ddp"]
STRATEGIES: tuple[StrategyName, ...] = ("auto", "single", "dp", "ddp")


def wrap(
    model: nn.Module,
    context: DistContext,
    strategy: StrategyName = "auto",
    *,
    device_ids: Sequence[int] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Place ``model`` on its device or devices and return what the loop should call.

    Args:
        model: The user's model.
        context: This process's place in the run.
        strategy: ``auto`` is ``ddp`` in a run of several processes, else ``single``.
        device_ids: For ``dp``: the devices that share each batch.
        **kwargs: Handed to ``DistributedDataParallel``.

    Returns:
        A module whose ``.module`` is the user's model. On one device it is the model itself,
        with an alias to itself that is no registered submodule: keys stay as they are and a
        call costs nothing.

    Raises:
        ConfigError: If the strategy does not fit the run.
    """
    if strategy == "auto":
        strategy = "ddp" if context.world_size > 1 else "single"
    model = unwrap(model).to(context.device)
    if strategy == "ddp" and context.world_size > 1:
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ConfigError(
                "The model has no parameter that requires a gradient: nothing to train."
            )
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
    model.__dict__["module"] = model
    return model


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's model: the inverse of :func:`wrap`."""
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        inner: nn.Module = model.module
        return inner
    return model


def is_wrapped(model: nn.Module) -> bool:
    """Whether the replicas of ``model`` in several processes are kept alike."""
    return isinstance(model, DistributedDataParallel)


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Skip gradient synchronisation inside; for accumulation."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Give all ranks the same buffers, then let them evaluate without talking to each other.

    DistributedDataParallel broadcasts buffers in each forward pass, in evaluation too. Ranks
    that evaluate a different number of batches would wait for each other for ever.
    """
    if not isinstance(model, DistributedDataParallel):
        yield
        return
    for buffer in model.module.buffers():
        dist.broadcast(buffer.data, src=0)
    before = model.require_forward_param_sync
    model.require_forward_param_sync = False
    try:
        yield
    finally:
        model.require_forward_param_sync = before


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of the user's model, with the user's keys."""
    return unwrap(model).state_dict()


def load_full_state(model: nn.Module, state: dict[str, Tensor], *, strict: bool = True) -> None:
    """Load what :func:`full_state` returned, whatever the wrapper then and now."""
    unwrap(model).load_state_dict(state, strict=strict)


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
        **kwargs: Handed to ``DistributedDataParallel``.

    Returns:
        A module whose ``.module`` is the user's model; see :func:`wrap`.
    """
    context = DistContext.current(device_ids)
    strategy: StrategyName = "auto" if distributed else "dp"
    return wrap(model, context, strategy, device_ids=device_ids, **kwargs)
