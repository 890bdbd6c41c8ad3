"""Names of parameters and modules: lists of them, and what wrappers put in front."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the user's model: what a wrapper, which has no other child, holds as ``module``."""
    inner = getattr(model, "module", None)
    is_wrapper = dict(model.named_children()).keys() == {"module"}
    return inner if is_wrapper and isinstance(inner, nn.Module) else model


def shortened(names: Sequence[str], at_most: int = 4) -> str:
    """Return the first names, and how many more there are, for a message."""
    shown = ", ".join(names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown
