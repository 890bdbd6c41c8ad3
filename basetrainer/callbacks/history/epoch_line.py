"""The line that says on the screen how an epoch went, and metrics as the log file has them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from basetrainer._epochs import epoch_number
from basetrainer._logs import PHASES, Logs, Metrics, metrics_by_set
from basetrainer._metrics import as_number, flat_numbers, total_of
from basetrainer.engine.progress.bar import columns_of

_LEAST_COLUMNS = 130
"""The line of a few metrics is never cut, however narrow the terminal is."""

_PREFIX = len("2026-01-01 00:00:00|INFO   | ")

_Item = tuple[int, str, str]
"""What is left out first where there is no room (the highest), a metric's name, and a text."""


def epoch_line(
    epoch: int,
    num_epochs: int,
    logs: Logs,
    seconds: float,
    *,
    is_best: bool,
    indicators: Collection[str] = (),
    monitored: str = "",
) -> str:
    """Return the line of an epoch; a star stands behind the metrics that made it the best.

    Where the line would be longer than the terminal (and 130 columns), it says how many metrics
    are not in it: dicts of metrics go first, those of the most parts, the monitored metric never.

    Args:
        epoch: Counts from 0; people count from 1.
        num_epochs: Those of the run.
        logs: The run's logs.
        seconds: How long the epoch took.
        is_best: Whether it is the best so far.
        indicators: Which metrics, beside the monitored one; by default all.
        monitored: The metric that decides which epoch is best.
    """
    sections: list[tuple[str, str, list[_Item]]] = []
    deciding = "test" if logs.get("test") else "train"
    for phase in PHASES:
        star = " *" if is_best and phase == deciding else ""
        for name, metrics in metrics_by_set(logs.get(phase)).items():
            items = list(_items(metrics, indicators, monitored.rpartition("/")[2]))
            if items:
                sections.append((f"{phase} {name}".strip(), star, items))
    head = f"epoch {epoch_number(epoch):>{len(str(num_epochs))}}/{num_epochs}"
    tail = f"lr {as_number(logs.get('lr')) or 0.0:.3g} | {seconds:.1f} s"
    columns = max(columns_of(sys.stderr) - _PREFIX, _LEAST_COLUMNS)
    shown = [list(items) for _, _, items in sections]
    while True:
        parts = [
            " ".join([title, *(text for *_, text in some), *_hidden(items, some)]) + star
            for (title, star, items), some in zip(sections, shown, strict=True)
        ]
        line = " | ".join([head, *parts, tail])
        last = max((rank for some in shown for rank, *_ in some), default=0)
        if len(line) <= columns or not last:
            return line
        found = Counter((rank, name) for some in reversed(shown) for rank, name, _ in some[::-1])
        gone = max((one for one in found if one[0] == last), key=found.__getitem__)
        shown = [[item for item in some if item[:2] != gone] for some in shown]


def rounded(value: Any) -> Any:
    """Return metrics as plain dicts of numbers with six digits; what is no number stays."""
    if isinstance(value, Mapping):
        return {name: rounded(one) for name, one in value.items()}
    number = None if isinstance(value, bool) else as_number(value)
    if number is None:
        return value
    return float(f"{number:.6g}") if isinstance(number, float) else number


def _items(metrics: Metrics, indicators: Collection[str], monitored: str) -> Iterator[_Item]:
    """Yield each metric with its name; of a dict of metrics its total, else its parts."""
    for name, value in metrics.items():
        if indicators and name not in indicators and name != monitored:
            continue
        total = total_of(name, value)
        if total is not None:
            rank = 0 if name == monitored else 1 if "loss" in str(name).lower() else 2
            yield rank, str(name), f"{name} {total:.4g}"
            continue
        for part, number in flat_numbers({name: value}).items():
            rank = 0 if part.rpartition("/")[2] == monitored else 3
            yield rank, str(name), f"{part} {number:.4g}"


def _hidden(items: list[_Item], shown: list[_Item]) -> list[str]:
    count = len(items) - len(shown)
    return [f"(+{count} more)"] if count else []
