"""What of a network is learned: what must be finite to be saved, and what EMA averages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basetrainer._wrappers import unwrap

STATISTICS = ("running_mean", "running_var")
"""Buffers that are learned as well: what torch's normalization layers, and those written after
them, call their running statistics."""


def learned_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that gradients change, by name; tied ones once.

    Frozen ones, whose numbers are constants, and integers are not among them.
    """
    return {name: one for name, one in model.named_parameters() if is_learned(one)}


def is_learned(parameter: Tensor) -> bool:
    """Whether gradients change a parameter."""
    return parameter.requires_grad and not is_lazy(parameter)


def statistics(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield the full name, the layer and the own name of each running statistic.

    The layer, since a statistic may be assigned anew in each forward pass.
    """
    for prefix, layer in model.named_modules():
        for name, value in layer.named_buffers(recurse=False):
            is_mean = not is_lazy(value) and (value.is_floating_point() or value.is_complex())
            if name in STATISTICS and is_mean:
                yield f"{prefix}.{name}" if prefix else name, layer, name


def learned_state(model: nn.Module | None, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entries of the model's state dict that are learned.

    Those are parameters that require a gradient and running statistics. Any other buffer may hold
    what it likes: a mask of -inf, a smallest value so far that begins at infinity, NaN for "not
    seen yet".

    Args:
        model: The model, wrapped or not; None lets all count.
        state: Its state dict, or that of averaged weights.
    """
    if model is None:
        return state
    model = unwrap(model)
    names = {
        name
        for name, one in model.named_parameters(remove_duplicate=False)
        if one.requires_grad and name in state
    }
    names.update(name for name, *_ in statistics(model))
    return {name: state[name] for name in state if name in names}
