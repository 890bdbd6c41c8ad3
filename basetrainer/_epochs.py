"""How people count epochs."""

from __future__ import annotations


def epoch_number(epoch: int) -> int:
    """Return the number that people read of an epoch.

    Hooks, config keys, checkpoints and files count epochs from 0. Everything made for reading, that
    is log messages, progress bars, pictures and errors, counts them from 1 and asks this function.
    """
    return epoch + 1
