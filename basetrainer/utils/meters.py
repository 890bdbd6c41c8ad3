"""Means and histories of device scalars, read on the host only when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_CHUNK = 64


class ScalarHistory:
    """Scalars held in the order of their steps, wherever they were computed.

    Appending reads nothing on the host. Values are cloned, since the caller may reuse the
    tensor; every 64 of them become one, so that the memory held is that of the numbers alone.
    """

    def __init__(self) -> None:
        self._held: list[Tensor] = []
        self._chunks: list[Tensor] = []

    def append(self, value: Tensor | float) -> None:
        """Hold one scalar; a tensor of more elements counts by its mean."""
        if isinstance(value, Tensor):
            value = value.detach()
            self._held.append(value.clone() if value.ndim == 0 else value.float().mean())
        else:
            self._held.append(torch.tensor(value, dtype=torch.float64))
        if len(self._held) == _CHUNK:
            self._pack()

    def drain(self) -> list[float]:
        """Return the held scalars, oldest first, and forget them; this reads the device."""
        self._pack()
        chunks, self._chunks = self._chunks, []
        return [number for chunk in chunks for number in chunk.tolist()]

    def _pack(self) -> None:
        if self._held:
            kinds = {(value.device, value.dtype) for value in self._held}
            if len(kinds) == 1:
                self._chunks.append(torch.stack(self._held))
            else:  # a float among tensors, or a device that changed
                self._chunks.append(torch.stack([value.cpu().double() for value in self._held]))
            self._held = []

    def __len__(self) -> int:
        return len(self._held) + sum(len(chunk) for chunk in self._chunks)


class Mean:
    """A weighted running mean that is settled when it is read.

    Settling adds value after value in float64 in the order of the steps, so the result does not
    depend on how often somebody looked.

    Args:
        skips_nonfinite: Whether NaN and infinite values are left out.
    """

    def __init__(self, skips_nonfinite: bool = False) -> None:
        self.total = 0.0
        self.weight = 0.0
        self._recent = [0.0, 0.0]  # total and weight since recent() was last called
        self._skips_nonfinite = skips_nonfinite
        self._values = ScalarHistory()
        self._weights: list[float | Tensor] = []

    def add(self, value: Tensor | float, weight: float | Tensor = 1.0) -> None:
        """Hold one value and over how many things it was averaged (1 by default)."""
        self._values.append(value)
        self._weights.append(weight.detach().clone() if isinstance(weight, Tensor) else weight)

    def settle(self) -> None:
        """Add what is held to the sums; this reads the device."""
        if not self._weights:
            return
        weights, self._weights = self._weights, []
        for value, weight in zip(self._values.drain(), _as_floats(weights), strict=True):
            is_left_out = self._skips_nonfinite and not math.isfinite(value)
            if weight and not is_left_out:  # a mean over nothing is NaN and counts nothing
                self.total += value * weight
                self.weight += weight
                self._recent[0] += value * weight
                self._recent[1] += weight

    def recent(self) -> float | None:
        """Return the mean of what was added since the last call; None if nothing was."""
        self.settle()
        (total, weight), self._recent = self._recent, [0.0, 0.0]
        return total / weight if weight else None

    def compute(self) -> float | None:
        """Return the mean, or None if nothing was added yet."""
        self.settle()
        return self.total / self.weight if self.weight else None

    def state_dict(self) -> dict[str, Any]:
        """Return the sums, settled."""
        self.settle()
        return {"total": self.total, "weight": self.weight, "recent": list(self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.total, self.weight = state["total"], state["weight"]
        self._recent = list(state["recent"])


def _as_floats(values: Sequence[float | Tensor]) -> list[float]:
    """Return numbers and scalar tensors as numbers, with one read of the device."""
    if not any(isinstance(value, Tensor) for value in values):
        return [float(value) for value in values]
    history = ScalarHistory()
    for value in values:
        history.append(value)
    return history.drain()
