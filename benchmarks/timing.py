"""Medians with quartiles of things timed in turn, so that they share the machine's moods."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    things: Mapping[str, Callable[[], float | None]],
    rounds: int,
    settle: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Time each thing once per round, after one round that does not count.

    Args:
        things: What to do, by name; one that returns a number has timed itself.
        rounds: How often.
        settle: Called before each, untimed.

    Returns:
        Milliseconds, by name.
    """
    samples: dict[str, list[float]] = {name: [] for name in things}
    for number in range(rounds + 1):
        for name, do in things.items():
            settle()
            begin = time.perf_counter()
            seconds = do()
            seconds = time.perf_counter() - begin if seconds is None else seconds
            if number:
                samples[name].append(1e3 * seconds)
    return samples


def spread(samples: list[float], digits: int = 0) -> str:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(samples, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
