"""KeptStatistics: running statistics as they were before a batch that is left out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basetrainer.models.learned import STATISTICS


class KeptStatistics:
    """Remembers the running statistics of a model's layers, and restores those that became NaN.

    The forward pass of a batch with NaN changes them before anybody knows, and an average never
    recovers from NaN: every later evaluation would be NaN.

    Args:
        model: The model; what it holds now is kept at once. Layers that get statistics later are
            not looked at.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places = [
            (layer, name)
            for layer in model.modules()
            for name in STATISTICS
            if isinstance(getattr(layer, name, None), Tensor)
        ]
        self._kept: list[Tensor] = []
        self.keep()

    def keep(self) -> None:
        """Keep a copy of what they are; nothing is read on the host."""
        now = list(self._values())
        if [one.shape for one in now] != [one.shape for one in self._kept]:
            self._kept = [one.clone() for one in now]
            return
        for kept, value in zip(self._kept, now, strict=True):
            kept.copy_(value)

    def restore(self) -> None:
        """Set those that are not finite to what they were; reads one flag of each on the host."""
        with torch.no_grad():
            for kept, value in zip(self._kept, self._values(), strict=False):
                if value.shape == kept.shape and not bool(value.isfinite().all()):
                    value.copy_(kept)

    def _values(self) -> Iterator[Tensor]:
        for layer, name in self._places:
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and not is_lazy(value):
                yield value.detach()
