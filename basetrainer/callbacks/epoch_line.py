"""The line that tells an epoch on the screen, and figures as the log file has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from basetrainer._logs import PHASES, Logs, Metrics, find_metric, metrics_by_set


def epoch_line(epoch: int, num_epochs: int, logs: Logs, seconds: float, *, is_best: bool) -> str:
    """Return the line of an epoch; a star stands behind the figures that made it the best.

    Args:
        epoch: Counts from 0; people count from 1.
        num_epochs: Those of the run.
        logs: The run's logs.
        seconds: How long the epoch took.
        is_best: Whether it is the best so far.
    """
    deciding = "test" if logs.get("test") else "train"
    parts = [f"epoch {epoch + 1:>{len(str(num_epochs))}}/{num_epochs}"]
    for phase in PHASES:
        told = [
            " ".join([f"{phase} {name}".strip(), *_told(metrics)])
            for name, metrics in metrics_by_set(logs.get(phase)).items()
            if metrics
        ]
        if told:
            parts.append(f"{' | '.join(told)}{' *' if is_best and phase == deciding else ''}")
    parts.append(f"lr {logs.get('lr', 0.0):.3g}")
    parts.append(f"{seconds:.1f} s")
    return " | ".join(parts)


def rounded(value: Any) -> Any:
    """Return the figures as plain dicts of numbers with six digits."""
    if isinstance(value, Mapping):
        return {name: rounded(one) for name, one in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _told(metrics: Metrics) -> Iterator[str]:
    """Yield each figure with its name; losses of a dict count by their sum."""
    for name in metrics:
        value = find_metric({"train": metrics}, name)
        if value is not None:
            yield f"{name} {value:.4g}"
