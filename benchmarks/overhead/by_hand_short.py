"""The best loop by hand, with the two shortcuts that ours takes through torch.

Batches are taken from the dataset, without a DataLoader, and torch's wrapper is off the optimizer's
step: hooks and profilers, which it is there for, are not looked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

from benchmarks.overhead import by_hand
from benchmarks.overhead.work import Batch, Work


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    return by_hand.train(work, by_hand.Shortcuts(_unwrapped, _batches))


def _unwrapped(optimizer: Optimizer) -> Callable[[], Any]:
    wrapped: Any = type(optimizer).step
    return functools.partial(wrapped.__wrapped__, optimizer)


def _batches(work: Work) -> Iterator[Batch]:
    return map(work.data.__getitem__, range(len(work.data)))
