"""Weights per class, and class indices, in the shapes that losses compute with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from basetrainer.errors import ConfigError


def as_weight(given: Any) -> Tensor | None:
    """Return one number or one per class as a tensor of float32, or of the float type it has.

    Raises:
        ConfigError: If they are no numbers, or negative.
    """
    if given is None:
        return None
    try:
        weight = torch.as_tensor(given).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"A weight per class must be a list of numbers, one for each: {given!r} is none."
        ) from error
    weight = weight if isinstance(given, Tensor) and weight.is_floating_point() else weight.float()
    if weight.ndim > 1 or not bool((weight >= 0).all()):
        raise ConfigError(f"A weight per class must be numbers of 0 or more in one row: {given!r}.")
    return weight


def check_reduction(reduction: str) -> str:
    """Return ``reduction`` if it is one of torch's, or raise ConfigError."""
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(f"reduction={reduction!r}: write 'mean', 'sum' or 'none'.")
    return reduction


def one_hot(targets: Tensor, logits: Tensor, ignore_index: int = -100) -> Tensor:
    """Return class indices ``(N, ...)`` in the shape of logits ``(N, C, ...)``; ignored: all 0."""
    is_counted = (targets != ignore_index).unsqueeze(1)
    index = targets.masked_fill(targets == ignore_index, 0).unsqueeze(1)
    return torch.zeros_like(logits).scatter(1, index, is_counted.to(logits.dtype))


def along_classes(weight: Tensor, logits: Tensor) -> Tensor:
    """Give a weight per class the dimensions of logits ``(N, C, ...)``."""
    if weight.ndim == 0:
        return weight.to(logits.dtype)
    return weight.to(logits.dtype).view(1, -1, *[1] * (logits.ndim - 2))


def of_targets(weight: Tensor, index: Tensor) -> Tensor:
    """Pick the weight of each target's class."""
    return weight if weight.ndim == 0 else weight[index]
