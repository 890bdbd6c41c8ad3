"""Passes over the data, and their places: what a run asks for to go on where it stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

BIT_EXACT = "bit-exact"
EPOCH_START = "from the epoch's start"
DEFAULT_SEED = 2020


def length(sized: Any, default: int = 0) -> int:
    """Return ``len(sized)``, or ``default`` where it has none, or fails to tell it."""
    try:
        return len(sized)
    except Exception:  # whatever a class of the user's raises, its length is not known
        return default


def lengths(loader: Any) -> dict[str, int]:
    """Return how many samples and batches a loader has, 0 where that is not known."""
    return {
        "num_samples": length(getattr(loader, "dataset", None)),
        "num_batches": length(loader),
    }


class Passes:
    """Which pass over the data comes next.

    Args:
        seed: Of the run.
        advances: Whether passes that nobody places are successive epochs, not the same again.

    Attributes:
        epoch: Of the next pass, or of the one that has begun.
        start: The batch of it that comes first.
    """

    def __init__(self, seed: int = DEFAULT_SEED, *, advances: bool = True) -> None:
        self.seed = seed
        self.advances = advances
        self.epoch = 0
        self.start = 0
        self._is_begun = False

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch of the next pass, and the batch of it that comes first."""
        self.epoch, self.start, self._is_begun = epoch, start, False

    def begin(self) -> tuple[int, int]:
        """Return the epoch and the first batch of the pass that begins now.

        One that :meth:`set_epoch` did not place is whole, and follows the last one.
        """
        if self._is_begun and self.advances:
            self.epoch += 1
        start, self.start, self._is_begun = self.start, 0, True
        return self.epoch, start


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
    def close(self) -> None:
        """End the workers that wait for the next pass; it starts new ones."""

    @abstractmethod
    def fingerprint(self) -> dict[str, int]:
        """Return what must be equal for a place to mean the same data."""
