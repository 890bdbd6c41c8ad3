"""What a loss is given, checked: its options once, the shapes of its inputs at each call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from basetrainer.criterion.weights import check_reduction
from basetrainer.errors import ConfigError, UsageError

_WRITTEN = {"weight": "class_weight"}
"""What users call a buffer of torch's."""

_OF_NUMBERS = (nn.L1Loss, nn.SmoothL1Loss, nn.MSELoss)


def check_options(criterion: nn.Module) -> None:
    """Refuse options that torch's losses take, and fall over in the first step.

    Raises:
        ConfigError: If ``reduction`` is none of torch's, ``label_smoothing`` is not between 0 and
            1, or ``beta`` is negative.
    """
    check_reduction(getattr(criterion, "reduction", "mean"))
    smoothing, beta = getattr(criterion, "label_smoothing", 0.0), getattr(criterion, "beta", 1.0)
    if not isinstance(smoothing, (int, float)) or not 0 <= smoothing <= 1:
        raise ConfigError(
            f"label_smoothing={smoothing!r}: write a number from 0 to 1, such as 0.1."
        )
    if not isinstance(beta, (int, float)) or beta < 0:
        raise ConfigError(f"beta={beta!r}: write 0 (L1) or more, such as 1.")


def check_inputs(criterion: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Refuse outputs and targets that this loss cannot compare; a forward pre-hook.

    Raises:
        UsageError: If one is no tensor, or their shapes do not go together: torch would stretch one
            over the other, or say so in its own terms.
    """
    name = type(criterion).__name__
    for what, value in zip(("outputs", "targets"), inputs, strict=False):
        if not isinstance(value, Tensor):
            raise UsageError(
                f"{name} compares tensors, but the {what} are a {type(value).__name__}. Override "
                f"run_step(self, inputs), and give the loss the tensor that it is to compare."
            )
    outputs, targets = inputs[:2]
    shapes = f"the outputs have {tuple(outputs.shape)} and the targets {tuple(targets.shape)}"
    if isinstance(criterion, _OF_NUMBERS):
        if outputs.shape != targets.shape:
            raise UsageError(
                f"{name} compares numbers of one shape, but {shapes}. For classes take CELoss; for "
                f"numbers give both one shape."
            )
    elif outputs.ndim > 1 and targets.shape not in _of_classes(outputs):
        raise UsageError(
            f"{name} compares scores (N, C, ...) with class indices (N, ...), or with a number for "
            f"each class (N, C, ...), but {shapes}. Is the network's last layer the right one?"
        )


def _of_classes(outputs: Tensor) -> tuple[torch.Size, torch.Size]:
    """Return the shapes that targets may have."""
    return outputs.shape, outputs.shape[:1] + outputs.shape[2:]


def check_classes(criterion: nn.Module, num_classes: int | None) -> None:
    """Refuse weights that are not one for each class.

    Raises:
        ConfigError: If there are more or fewer.
    """
    for name, weight in criterion.named_buffers():
        # One number for all is a factor, but torch's own loss has no place for it.
        is_factor = weight.ndim == 0 and not isinstance(criterion, nn.CrossEntropyLoss)
        if not is_factor and weight.numel() != (num_classes or weight.numel() * weight.ndim):
            raise ConfigError(
                f"{_WRITTEN.get(name, name)} has {weight.numel()} numbers, but there are "
                f"num_classes={num_classes} classes. Give one number for each class."
            )
