"""Board: what TensorBoard shows of a run, on disk at the end of each epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basetrainer._logs import PHASES, Logs, Metrics, metrics_by_set
from basetrainer._metrics import as_number, flat_numbers
from basetrainer.callbacks.events import EventFolder
from basetrainer.callbacks.graph import trace_graph
from basetrainer.callbacks.hparams import flat_settings, session_end, session_start

STEPS = "steps"
"""The folder of the curves over the updates: their x axis is not that of the others."""


class Board:
    """Writes curves over epochs and over updates, settings and pictures.

    Over the epochs: ``train_X_epoch``, ``test_X_epoch``, ``lr_epoch``, and ``best_X_epoch`` in the
    epochs that were the best so far. A dict of losses becomes one event file per loss, in
    ``test_X_epoch/NAME/`` under the same tag, so that TensorBoard draws them into one chart, each
    under its name. So does a figure of several test sets. Over the updates, in ``steps/``:
    ``train_X_step``, ``train_X_step/NAME`` of a dict, ``lr_step``.

    Args:
        log_dir: Where the event files go.
        first_epoch: Of a run that goes on, the epoch that comes next: what an earlier process wrote
            from it on is hidden. None for a new run.
        last_update: Likewise, the updates that are done.
    """

    def __init__(
        self, log_dir: Path, first_epoch: int | None = None, last_update: int | None = None
    ) -> None:
        self._log_dir = log_dir
        self._first_epoch = first_epoch
        # A point at update U tells of the U updates before it, so it is not to come again.
        after = None if last_update is None else last_update + 1
        self._steps = EventFolder(log_dir / STEPS, after)
        self._folders: dict[Path, EventFolder] = {}

    def add_settings(self, cfg: Mapping[str, Any]) -> None:
        """Write the settings of the run, for the HPARAMS page."""
        self._epochs.add([session_start(flat_settings(cfg), time.time())])

    def add_step(self, update: int, figures: Metrics, lr: float) -> None:
        """Write training metrics after so many updates."""
        values = {"lr_step": lr}
        for name, value in figures.items():
            tag = f"train_{name}_step"
            if isinstance(value, Mapping):
                values |= {f"{tag}/{part}": one for part, one in flat_numbers(value).items()}
            elif (number := as_number(value)) is not None:
                values[tag] = number
        self._steps.add_scalars(values, update)

    def add_epoch(
        self, epoch: int, logs: Logs, indicators: Sequence[str], best: Mapping[str, float]
    ) -> None:
        """Write an epoch's figures, and everything before them through to the disk.

        Args:
            epoch: Counts from 0.
            logs: The run's logs.
            indicators: Which metrics are written; all if there is none.
            best: The figure that decides, by its name, if it is the best so far.
        """
        lr = as_number(logs.get("lr")) or 0.0
        folders: dict[Path, dict[str, float]] = {self._log_dir: {"lr_epoch": lr}}
        for name, value in logs.items():
            if name.startswith("lr/"):  # of each group
                folders[self._log_dir][f"lr_epoch/{name[3:]}"] = as_number(value) or 0.0
        for phase in PHASES:
            for test_set, figures in metrics_by_set(logs.get(phase)).items():
                for name in indicators or figures:
                    if name in figures:
                        tag = f"{phase}_{name}_epoch"
                        for place, value in self._placed(tag, test_set, figures[name]):
                            folders.setdefault(place, {})[tag] = value
        folders[self._log_dir].update({f"best_{name}_epoch": one for name, one in best.items()})
        for folder, values in folders.items():
            self._folder(folder).add_scalars(values, epoch)
        self.flush()

    def add_pictures(self, pictures: Mapping[str, bytes], epoch: int) -> None:
        """Write PNG files, each under its tag."""
        self._epochs.add_pictures(pictures, epoch)

    def add_graph(self, model: Any, inputs: Any) -> None:
        """Write the graph of a model, if it can be traced."""
        trace_graph(self._epochs.writer, model, inputs)

    def flush(self) -> None:
        """Bring everything to the disk."""
        for folder in (self._steps, *self._folders.values()):
            folder.flush()

    def close(self, *, has_failed: bool = False) -> None:
        """Say how the run ended, and close the event files."""
        self._epochs.add([session_end(time.time(), has_failed=has_failed)])
        for folder in (self._steps, *self._folders.values()):
            folder.close()

    def _placed(self, tag: str, test_set: str, value: Any) -> list[tuple[Path, float]]:
        """Return a metric, or each part of it, with its folder; nothing that is no number."""
        folder = self._log_dir / _folder_name(f"{tag}/{test_set}") if test_set else self._log_dir
        if not isinstance(value, Mapping):
            number = as_number(value)
            return [] if number is None else [(folder, number)]
        folder = folder if test_set else folder / _folder_name(tag)
        return [(folder / _folder_name(part), one) for part, one in flat_numbers(value).items()]

    @property
    def _epochs(self) -> EventFolder:
        return self._folder(self._log_dir)

    def _folder(self, path: Path) -> EventFolder:
        if path not in self._folders:
            self._folders[path] = EventFolder(path, self._first_epoch)
        return self._folders[path]


def _folder_name(name: str) -> str:
    """Return a metric's name as a path that leads nowhere else."""
    return "/".join(one for one in name.split("/") if one.strip(". ")) or "_"
