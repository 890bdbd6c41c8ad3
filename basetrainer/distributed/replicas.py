"""Whether the replicas of a model in several processes are kept alike, and are alike."""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import is_sharded, is_wrapped, reduced_parameters, unwrap
from basetrainer.errors import ConfigError, UsageError

logger = logging.getLogger(__name__)

_LAST_BITS = 1e-6
"""How far sums of weights may be apart, relative to their size, to be told only."""

_CAUSES = (
    "A weight is changed in one process alone, or by a gradient that was not averaged: through "
    "torch.autograd or optimizer.step() beside self.update(), by a draw that differs between "
    "processes, or where rank 0 alone loads weights."
)


class ForwardWatch:
    """Hears whether training forward passes go through a wrapper, which then averages gradients.

    Args:
        model: The wrapped model; this registers a hook with it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._was_called = False
        self._has_told = False
        me = weakref.ref(self)  # the model keeps its hooks: no cycle

        def note(module: Any, inputs: Any) -> None:
            watch = me()
            if watch is not None and torch.is_grad_enabled() and module.require_backward_grad_sync:
                watch._was_called = True

        handle = model.register_forward_pre_hook(note)
        weakref.finalize(self, handle.remove).atexit = False

    def take(self) -> bool:
        """Return whether there was one, since this was last asked, that averages gradients."""
        was_called, self._was_called = self._was_called, False
        if not was_called and not self._has_told:
            self._has_told = True
            logger.warning(
                "a training step did not call self.model, but the network inside it: gradients are "
                "averaged over the processes after the backward pass, which takes longer. Call "
                "self.model(...) in run_step."
            )
        return was_called


def check_frozen(model: nn.Module) -> None:
    """Refuse layers that were frozen after the model was wrapped: torch would wait for them.

    Raises:
        ConfigError: Names the first of their parameters.
    """
    if (
        is_sharded(model)
        or not is_wrapped(model)
        or getattr(model, "find_unused_parameters", False)
    ):
        return
    reduced = reduced_parameters(model)
    for name, parameter in unwrap(model).named_parameters():
        if id(parameter) in reduced and not parameter.requires_grad:
            raise ConfigError(
                f"{name} was frozen after build_model_parallel, which waits for its gradient. "
                f"Freeze layers before build_model_parallel, or give it "
                f"find_unused_parameters=True. (Layers may be unfrozen at any time.)"
            )


def check_alike(
    model: nn.Module, optimizers: Iterable[Optimizer], context: DistContext, epoch: int
) -> None:
    """Compare the weights of all replicas; collective.

    Buffers are left out: without SyncBatchNorm statistics differ by design.

    Args:
        model: The wrapped model.
        optimizers: What they change is compared, too, where the model has it not.
        context: This process's place in the run.
        epoch: As people count, for the message.

    Raises:
        UsageError: If they differ; names the first parameter.
    """
    if context.world_size == 1 or not is_wrapped(model) or is_sharded(model):
        return
    named = [one for one in unwrap(model).named_parameters() if not is_lazy(one[1])]
    known = {id(parameter) for _, parameter in named}
    loose = [
        parameter
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
        if id(parameter) not in known
    ]
    named += [(f"parameter {place} outside the model", one) for place, one in enumerate(loose)]
    if not named:
        return
    bits = torch.stack([_bits(parameter.detach()) for _, parameter in named]).tolist()
    digest = hashlib.blake2b(repr(bits).encode(), digest_size=16).hexdigest()
    if len(set(context.gather(digest))) == 1:
        return
    sums = [_sums(parameter.detach()) for _, parameter in named]
    all_bits, all_sums = context.gather(bits), context.gather(sums)
    for place, (name, _) in enumerate(named):
        ranks = [one for one, found in enumerate(all_bits) if found[place] != all_bits[0][place]]
        if not ranks:
            continue
        (first, size), (other, _) = all_sums[0][place], all_sums[ranks[0]][place]
        text = (
            f"the weights of ranks 0 and {ranks[0]} differ after epoch {epoch}: {name} is the "
            f"first (its sum is {first:.9g} and {other:.9g})"
        )
        if abs(first - other) > _LAST_BITS * max(size, 1e-12) or first != first:
            raise UsageError(f"T{text[1:]}. {_CAUSES}")
        logger.warning("%s. Only last bits differ, as on unlike devices.", text)
        return


def _bits(value: Tensor) -> Tensor:
    """Return a number, int64, that changes with any bit of a tensor; stays on its device."""
    if value.is_sparse:
        value = value.coalesce().values()
    plain = torch.view_as_real(value) if value.is_complex() else value
    words = {8: torch.int64, 4: torch.int32, 2: torch.int16}.get(plain.element_size(), torch.uint8)
    return plain.contiguous().reshape(-1).view(words).sum(dtype=torch.int64)


def _sums(value: Tensor) -> tuple[float, float]:
    """Return the sum of a tensor, and that of its sizes."""
    plain = torch.view_as_real(value) if value.is_complex() else value
    wide = plain.to("cpu", torch.float64)
    return float(wide.sum()), float(wide.abs().sum())
