"""The user's model inside a wrapper."""

from __future__ import annotations

from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the user's model: what a wrapper, which has no other child, holds as ``module``."""
    inner = getattr(model, "module", None)
    is_wrapper = dict(model.named_children()).keys() == {"module"}
    return inner if is_wrapper and isinstance(inner, nn.Module) else model
