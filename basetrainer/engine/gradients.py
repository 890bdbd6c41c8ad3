"""Gradients of one window on all ranks, made those of the one big batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from basetrainer._torch_private import foreach
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import is_shard


def divide(gradients: list[Tensor], weight: float | Tensor, context: DistContext | None) -> None:
    """Make sums of weighted gradients the gradients of the big batch's mean.

    Args:
        gradients: Changed in place.
        weight: The sum of the weights of this rank's micro-batches; a tensor is not read.
        context: Of the ranks that share the batch; None if no other rank takes part.
    """
    if context is None:
        if isinstance(weight, Tensor):
            foreach("div_", gradients, torch.where(weight > 0, weight, 1.0))
        elif weight not in (0.0, 1.0):
            foreach("div_", gradients, weight)
        return
    if isinstance(weight, Tensor):
        mine = weight.to(torch.float64)
    else:
        # Filled on the device: torch.tensor() would copy from the host, and wait for it.
        mine = torch.full((), weight, dtype=torch.float64, device=context.device)
    everything = context.sum(mine)
    # Gradients were averaged over the ranks: their sum is world_size times that.
    scale = torch.where(everything > 0, context.world_size / everything, 0.0)
    foreach("mul_", gradients, scale)


def average_loose(
    parameters: Iterable[nn.Parameter], averaged: Collection[int], context: DistContext
) -> None:
    """Average over the ranks the gradients that the wrapped model does not.

    Those are a criterion's parameters, layers that were unfrozen after the model was wrapped, and
    all if a step went around the wrapper.

    Args:
        parameters: What the optimizer changes; the same on all ranks.
        averaged: Ids of those that the wrapper has seen to.
        context: This process's place in the run.
    """
    for parameter in parameters:
        # Within a step the model shows whole parameters in the place of the sharded ones.
        is_loose = id(parameter) not in averaged and not is_shard(parameter)
        if is_loose and parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.copy_(context.mean(parameter.grad))


def widest(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type of a device; Apple's have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
