"""Event files, read as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Points = list[tuple[int, float]]


def accumulator(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def points(folder: Path) -> dict[str, Points]:
    """The steps and values under each tag."""
    events = accumulator(folder)
    return {
        tag: [(one.step, one.value) for one in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def scalars(folder: Path) -> dict[str, list[float]]:
    """The values under each tag."""
    return {tag: [value for _, value in found] for tag, found in points(folder).items()}
