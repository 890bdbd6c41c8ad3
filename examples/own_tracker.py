"""A tracker of your own: every figure of every epoch goes to a SQLite database.

    python -m examples.own_tracker
    sqlite3 runs.db 'select run, epoch, value from figures where name = "test/Acc"'

For Weights & Biases, MLflow and others replace what ``_write`` does.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import basetrainer as bt
from basetrainer.utils import log
from examples.common import DigitTrainer

_TABLE = """create table if not exists figures
            (run text, epoch integer, name text, value real, primary key (run, epoch, name))"""


class Database(bt.Callback):
    """Sends each epoch's figures; comes after the recorders and before ModelCheckpoint.

    Args:
        path: The database; it may hold many runs.
        run: The name of this one.
    """

    def __init__(self, path: str, run: str) -> None:
        super().__init__()
        self.path, self.run = Path(path), run

    def on_train_begin(self, logs: Any = None) -> None:
        epoch = self.engine.position.epoch if self.engine is not None else 0
        # A run that goes on tells its last epochs again: what is there of them is taken back.
        self._write("delete from figures where run = ? and epoch >= ?", [(self.run, epoch)])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rows = [(self.run, epoch, name, value) for name, value in flat(logs)]
        self._write("insert or replace into figures values (?, ?, ?, ?)", rows)

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if not self.is_main_process:  # of several processes one speaks
            return
        # Opened anew each time: nothing is lost, whatever ends the run, and nothing is pickled.
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute(_TABLE)
            database.executemany(statement, rows)


def flat(logs: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield ``("test/loss", 0.3)``, ...; groups of losses and several test sets go deeper."""
    for name, value in logs.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            yield prefix + name, float(value)


def main(num_epochs: int = 3, run: str = "first") -> Any:
    """Train, and return the logs."""
    log.set_logger(level="info")
    return DigitTrainer({"num_epochs": num_epochs}, (Database("runs.db", run),)).run()


if __name__ == "__main__":
    main()
