"""Data with a place: what a run asks of its loader to go on where it stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

BIT_EXACT = "bit-exact"
EPOCH_START = "from the epoch's start"


def length(sized: Any, default: int = 0) -> int:
    """Return ``len(sized)``, or ``default`` where it has none."""
    try:
        return len(sized)
    except TypeError:
        return default


def lengths(loader: Any) -> dict[str, int]:
    """Return how many samples and batches a loader has, 0 where that is not known."""
    return {
        "num_samples": length(getattr(loader, "dataset", None)),
        "num_batches": length(loader),
    }


class Placed(ABC):
    """Batches in passes over the data, any of which can be placed."""

    @abstractmethod
    def set_position(self, epoch: int, step: int = 0, state: Any = None) -> int:
        """Let the next pass be that of ``epoch`` from batch ``step`` on.

        Args:
            epoch: From 0.
            step: Batches of this process that are done.
            state: What :meth:`position_state` returned for that place.

        Returns:
            The batch that will come first: ``step``, or 0 where the data can only start anew.
        """

    @abstractmethod
    def position_state(self, epoch: int, step: int) -> dict[str, Any]:
        """Return what a place needs beside its two numbers, to be saved with them."""

    @abstractmethod
    def promise(self) -> tuple[str, str]:
        """Return how exactly a run goes on, one of two constants, and why not better."""

    @abstractmethod
    def fingerprint(self) -> dict[str, int]:
        """Return what must be equal for a place to mean the same data."""
