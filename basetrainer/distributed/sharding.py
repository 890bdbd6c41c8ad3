"""FSDP2: parameters, gradients and optimizer state of a model, each in parts over the ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from basetrainer._torch_private import map_tensors
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError

_SKIPS, _SILENT, _RESHARDS = "_skips_reduction", "_is_silent", "_reshards"


def shard(
    model: nn.Module,
    context: DistContext,
    *,
    is_block: Callable[[nn.Module], bool] | None = None,
    reshard_after_forward: bool | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Shard ``model`` in place over all ranks; its optimizer must be made after that.

    Args:
        model: On its device. Rank 0's weights become those of all.
        context: This process's place in the run.
        is_block: Which submodules are gathered and freed one at a time; by default the members of
            every ``Sequential`` and ``ModuleList`` that are made of several modules themselves.
        reshard_after_forward: As ``fully_shard`` has it.
        **kwargs: Handed to ``fully_shard``.

    Returns:
        The model, with an alias ``module`` to itself.

    Raises:
        ConfigError: If ``reshard_after_forward`` is a number.
    """
    if type(reshard_after_forward) not in (bool, type(None)):
        raise ConfigError(
            f"reshard_after_forward: {reshard_after_forward!r} must be true or false."
        )
    for tensor in (*model.parameters(), *model.buffers()):
        dist.broadcast(tensor.data, src=0)
    options = {
        "mesh": init_device_mesh(context.device.type, (context.world_size,)),
        "reshard_after_forward": reshard_after_forward,
        **kwargs,
    }
    blocks = _blocks(model) if is_block is None else filter(is_block, model.modules())
    for block in [
        *reversed([one for one in blocks if one is not model]),
        model,
    ]:  # inner ones first
        if any(True for _ in block.parameters()):
            fully_shard(block, **options)
    model.__dict__.update({"module": model, _RESHARDS: reshard_after_forward})
    model.register_forward_pre_hook(_choose_reduction)
    model.register_forward_hook(_gate_outputs)
    return model


@contextmanager
def unreduced(model: nn.Module) -> Iterator[None]:
    """Let forward passes inside be followed by backward passes that keep gradients to this rank."""
    before = model.__dict__.get(_SKIPS, False)
    model.__dict__[_SKIPS] = True
    try:
        yield
    finally:
        model.__dict__[_SKIPS] = before


@contextmanager
def silent(model: nn.Module) -> Iterator[None]:
    """Let backward passes inside take part in everything, with gradients of 0.

    For a rank whose loss is a mean over nothing: the others wait for its part.
    """
    model.__dict__[_SILENT] = True
    try:
        yield
    finally:
        model.__dict__[_SILENT] = False


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Have all parameters whole on every rank while entered; collective at the begin."""
    parts = [one for one in model.modules() if isinstance(one, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            before = model.__dict__[_RESHARDS]
            # Torch's default: the root's parameters are needed again at once.
            reshards = part is not model if before is None else before
            part.set_reshard_after_forward(reshards, recurse=False)


class _Gate(torch.autograd.Function):
    """The identity; backward it lets 0 through instead of gradients while the model is silent."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, state: dict[str, Any]) -> Tensor:
        ctx.state = state
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        return torch.zeros_like(gradient) if ctx.state.get(_SILENT) else gradient, None


def _gate_outputs(model: nn.Module, inputs: Any, outputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return outputs
    state = model.__dict__
    return map_tensors(lambda one: _Gate.apply(one, state) if one.requires_grad else one, outputs)


def _choose_reduction(model: nn.Module, inputs: Any) -> None:
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(not model.__dict__.get(_SKIPS, False))


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    for container in model.modules():
        if isinstance(container, (nn.Sequential, nn.ModuleList)):
            yield from (one for one in container if any(True for _ in one.children()))
