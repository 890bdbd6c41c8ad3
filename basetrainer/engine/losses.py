"""What ``run_step`` may return as losses, and what is made of it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from basetrainer.errors import UsageError


def named_losses(losses: Any) -> Iterable[tuple[str, Any]]:
    """Return each loss with its name: its key in a dict, its place in a list, or ``loss``.

    None is no loss.
    """
    if losses is None:
        return ()
    if isinstance(losses, Tensor):
        return (("loss", losses),)
    if isinstance(losses, dict):
        return losses.items()
    return ((str(place), value) for place, value in enumerate(losses))


def has_losses(losses: Any) -> bool:
    """Whether there is a loss; an evaluation may have none: None, ``{}``, ``[]`` or ``()``."""
    return losses is not None and (isinstance(losses, Tensor) or len(losses) > 0)


def total_loss(losses: Any) -> Tensor:
    """Return the sum that is minimised.

    Args:
        losses: A scalar tensor, or a dict, list or tuple of them.

    Raises:
        UsageError: If there is none.
    """
    if isinstance(losses, Tensor):
        return losses
    if not has_losses(losses):
        raise UsageError(
            f"There is no loss to minimise: train_step got {losses!r}. Only an evaluation may "
            f"return no loss; leave out such a batch in the loader."
        )
    values = losses.values() if isinstance(losses, dict) else losses
    total: Tensor = functools.reduce(operator.add, values)
    return total


def check_step(returned: Any) -> None:
    """Say what is wrong with what ``run_step`` returned, before torch does in its own words.

    Raises:
        UsageError: If it is not ``(outputs, losses)`` with scalar losses that can be minimised.
    """
    if not isinstance(returned, (list, tuple)) or len(returned) != 2:
        raise UsageError(
            f"run_step returned {_kind(returned)}, but the engine needs a tuple of two: "
            f"return outputs, losses"
        )
    losses = returned[1]
    if not isinstance(losses, (Tensor, dict, list, tuple)):
        raise UsageError(
            f"run_step returned {_kind(losses)} as losses, but they must be a tensor, or a dict, "
            f"list or tuple of tensors."
        )
    named = list(named_losses(losses))
    if not named:
        raise UsageError(f"run_step returned an empty {type(losses).__name__} as losses.")
    for name, value in named:
        if not isinstance(value, Tensor) or value.ndim:
            raise UsageError(
                f"run_step returned {_kind(value)} as the loss {name!r}, but each loss must be a "
                f"scalar tensor. If it is one value per sample, return its mean()."
            )
    if torch.is_grad_enabled() and not any(value.requires_grad for _, value in named):
        raise UsageError(
            "No loss depends on a parameter that requires a gradient: nothing can be learnt. "
            "Did the model run under no_grad, or was the loss detached?"
        )


def _kind(value: Any) -> str:
    """Describe a value for a message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"
