"""What a loss is given, checked: its options once, the shapes of its inputs at each call."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from basetrainer.criterion.weights import check_reduction
from basetrainer.errors import ConfigError, UsageError

_SAME_SHAPE = (nn.L1Loss, nn.SmoothL1Loss, nn.MSELoss)


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
        UsageError: If one is no tensor, or the shapes of numbers to compare differ: torch would
            stretch one over the other.
    """
    name = type(criterion).__name__
    for what, value in zip(("outputs", "targets"), inputs, strict=False):
        if not isinstance(value, Tensor):
            raise UsageError(
                f"{name} compares tensors, but the {what} are a {type(value).__name__}. Override "
                f"run_step(self, inputs), and give the loss the tensor that it is to compare."
            )
    if isinstance(criterion, _SAME_SHAPE) and inputs[0].shape != inputs[1].shape:
        raise UsageError(
            f"{name} compares numbers of one shape, but the outputs have {tuple(inputs[0].shape)} "
            f"and the targets {tuple(inputs[1].shape)}. For classes take CELoss; for numbers give "
            f"both one shape."
        )
