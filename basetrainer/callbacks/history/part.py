"""HistoryPart: one job of LogHistory, such as lines, tables, TensorBoard or pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs
from basetrainer.callbacks.history.event_board import Board
from basetrainer.engine.engine import Engine


@dataclass(frozen=True)
class HistoryStart:
    """What a part is made from when a run begins."""

    log_dir: Path
    log_freq: int
    indicators: Sequence[str]
    """Which metrics are written; all if there is none."""
    logger: Any
    board: Board
    """Where TensorBoard's events go; whoever made it closes it."""
    graph: bool = False
    """Whether TensorBoard gets the model's graph."""
    epoch: int = 0
    """The epoch that is trained first."""
    is_resumed: bool = False
    """Whether the run was resumed: what the files have of ``epoch`` and later is to be cut."""
    is_restarted: bool = False
    """Whether the files were left by a run that was killed before its first save."""
    has_best: bool = False
    """Whether an earlier process has seen an evaluation that was the best."""


@dataclass(frozen=True)
class EpochSummary:
    """What a part is told at the end of an epoch."""

    epoch: int
    logs: Logs
    seconds: float
    is_tested: bool
    """Whether the metrics that decide are in ``logs``."""
    monitored: str = ""
    """The metric that decides which epoch is best."""
    new_best: Mapping[str, float] = field(default_factory=dict)
    """Its value by its name, if this epoch is the best so far."""


class HistoryPart:
    """One job of :class:`~basetrainer.callbacks.log_history.LogHistory`; override what it needs.

    A part is made when a run begins and closed when it ends, in the process that may write. It
    gets the engine in each hook and holds none, so that no cycle keeps a model alive; ``engine`` is
    None where a program calls the hooks by hand.

    Args:
        start: Where, and from which epoch.
        engine: Who trains.
    """

    def __init__(self, start: HistoryStart, engine: Engine | None) -> None:
        pass

    def on_batch_end(self, engine: Engine | None, batch: int, logs: Logs | None) -> None:
        """A training batch is done; nothing here may cost much."""

    def on_test_summary(self, engine: Engine, batch: int, inputs: Any, outputs: Any) -> None:
        """A test batch was evaluated."""

    def on_epoch_end(self, engine: Engine | None, summary: EpochSummary) -> None:
        """An epoch is done."""

    def on_train_end(self, engine: Engine | None) -> None:
        """The run is done."""
