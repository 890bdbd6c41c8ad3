"""The best loop by hand, with torch's wrapper taken off the optimizer's step, as ours does it.

It looks for neither hooks nor profilers, which the wrapper is there for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from benchmarks.overhead import by_hand
from benchmarks.overhead.work import Work


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    return by_hand.train(work, _unwrapped)


def _unwrapped(optimizer: Optimizer) -> Callable[[], Any]:
    wrapped: Any = type(optimizer).step
    return functools.partial(wrapped.__wrapped__, optimizer)
