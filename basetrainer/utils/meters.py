"""Means and histories of device scalars, read on the host only when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_CHUNK = 64
_MOST = 1 << 12
"""How many values a mean holds before it reads them by itself, where nobody else looks."""


class Copies:
    """Copies of tensors of one shape, in a buffer that is used again and again.

    That costs half of a clone each. Nothing is read on the host.

    Args:
        like: A tensor of the shape, dtype and device of those to come.
        room: How many it takes.
    """

    def __init__(self, like: Tensor, room: int) -> None:
        self._shape, self._dtype, self._device = like.shape, like.dtype, like.device
        with torch.inference_mode(False):  # it may outlive an evaluation
            self._buffer = torch.empty(room, *like.shape, dtype=like.dtype, device=like.device)
            self._places = self._buffer.unbind()
        self._room = room
        self._number = 0

    def suits(self, value: Tensor) -> bool:
        """Whether there is room for a tensor, and it is like the others."""
        has_room = self._number < self._room
        return has_room and self.is_like(value)

    def is_like(self, value: Tensor) -> bool:
        """Whether a tensor has the shape, dtype and device of the others."""
        is_like = value.dtype is self._dtype and value.shape == self._shape
        return is_like and value.device == self._device

    def append(self, value: Tensor) -> bool:
        """Copy a tensor if it suits, and return whether it did."""
        number = self._number
        if (  # suits(), without the calls
            number == self._room
            or value.dtype is not self._dtype
            or value.shape != self._shape
            or value.device != self._device
        ):
            return False
        self._places[number].copy_(value.detach() if value.requires_grad else value)
        self._number = number + 1
        return True

    def take(self) -> Tensor:
        """Return what is held, oldest first, and begin anew: the next append overwrites it."""
        number, self._number = self._number, 0
        return self._buffer[:number]

    def __len__(self) -> int:
        return self._number


class ScalarHistory:
    """Scalars held in the order of their steps, wherever they were computed.

    Appending reads nothing on the host. Values are copied, since the caller may reuse the tensor.
    """

    def __init__(self) -> None:
        self._copies = Copies(torch.empty(()), 0)
        self._full: list[Tensor] = []

    def append(self, value: Tensor | float) -> None:
        """Hold one scalar; a tensor of more elements counts by its mean."""
        if not isinstance(value, Tensor):
            value = torch.tensor(value, dtype=torch.float64)
        elif value.ndim:
            value = value.float().mean()
        if not self._copies.append(value):
            self._make_room(value)
            self._copies.append(value)

    def drain(self) -> list[float]:
        """Return the held scalars, oldest first, and forget them; this reads the device."""
        full, self._full = self._full, []
        chunks = [*full, self._copies.take()]
        return [number for chunk in chunks for number in chunk.tolist()]

    def _make_room(self, value: Tensor) -> None:
        """Put away what is held, and let there be room for the value."""
        if len(self._copies):
            self._full.append(self._copies.take().clone())
        if not self._copies.suits(value):
            self._copies = Copies(value, _CHUNK)

    def __len__(self) -> int:
        return len(self._copies) + sum(len(chunk) for chunk in self._full)


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
        if len(self._weights) == _MOST:
            self.settle()

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

    def take_in(self, other: Mean) -> None:
        """Add what another mean has seen."""
        self.settle()
        other.settle()
        self.total += other.total
        self.weight += other.weight
        self._recent = [one + more for one, more in zip(self._recent, other._recent, strict=True)]

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
