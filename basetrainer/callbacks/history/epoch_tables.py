"""EpochTables: ``results.csv`` and ``metrics.jsonl``, which have a row per epoch."""

from __future__ import annotations

from basetrainer.callbacks.history.line_file import put_aside
from basetrainer.callbacks.history.metrics_jsonl import MetricsJsonl
from basetrainer.callbacks.history.part import EpochSummary, HistoryPart, HistoryStart
from basetrainer.callbacks.history.results_csv import ResultsCsv, rewind_csv
from basetrainer.engine.engine import Engine
from basetrainer.engine.eval_sets import named_test_sets


class EpochTables(HistoryPart):
    """Appends a row to both files at each epoch's end; a resumed run cuts the rows to come.

    Args:
        start: Where, and from which epoch.
        engine: Who trains.
    """

    def __init__(self, start: HistoryStart, engine: Engine | None) -> None:
        table, lines = start.log_dir / "results.csv", start.log_dir / "metrics.jsonl"
        self._jsonl = MetricsJsonl(lines)
        if start.is_resumed:
            self._jsonl.rewind(start.epoch)
            rewind_csv(table, start.epoch)
        elif start.is_restarted:
            put_aside(lines)
            put_aside(table)
        elif engine is not None and table.is_file():
            start.logger.warning(
                "%s has the figures of an earlier run, and those of this one follow them. Give "
                "each run a folder of its own (another work_dir, or create_workspace).",
                start.log_dir,
            )
        sets = [one for one in named_test_sets(engine.test_loader) if one] if engine else []
        self._csv = ResultsCsv(table, start.indicators, sets, is_resumed=start.is_resumed)

    def on_epoch_end(self, engine: Engine | None, summary: EpochSummary) -> None:
        """Write the rows; they are in the files when this returns."""
        self._csv.append(summary.epoch, summary.logs)
        times = engine.run_clock.epoch if engine is not None else {}
        self._jsonl.append(summary.epoch, {"time": times, **summary.logs}, summary.seconds)
