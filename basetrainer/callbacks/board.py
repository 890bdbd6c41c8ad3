"""Board: the figures of an epoch as TensorBoard scalars, on disk at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basetrainer._logs import PHASES, Logs, metrics_by_set

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Writes ``train_X_epoch``, ``test_X_epoch`` and ``lr_epoch``.

    A dict of losses becomes one event file per loss, in ``test_X_epoch/NAME/`` under the same tag,
    so that TensorBoard draws them into one chart, each under its name. So does a figure of several
    test sets.

    Args:
        log_dir: Where the event files go.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._writers: dict[Path, SummaryWriter] = {}

    def add_epoch(self, epoch: int, logs: Logs, indicators: Sequence[str]) -> None:
        """Write the epoch's figures through to the disk."""
        for phase in PHASES:
            for test_set, figures in metrics_by_set(logs.get(phase)).items():
                for name in indicators:
                    if name in figures:
                        tag = f"{phase}_{name}_epoch"
                        folder = self._log_dir / tag / test_set if test_set else self._log_dir
                        self._add(folder, tag, figures[name], epoch)
        self._writer(self._log_dir).add_scalar("lr_epoch", logs.get("lr", 0.0), epoch)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the event files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _add(self, folder: Path, tag: str, value: Any, epoch: int) -> None:
        """Write one figure, or each of a dict of losses."""
        if not isinstance(value, dict):
            self._writer(folder).add_scalar(tag, value, epoch)
            return
        for part, one in value.items():
            place = folder / part if folder.parent.name == tag else folder / tag / part
            self._writer(place).add_scalar(tag, one, epoch)

    def _writer(self, folder: Path) -> SummaryWriter:
        if folder not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # costs a second of imports

            self._writers[folder] = SummaryWriter(str(folder))
        return self._writers[folder]
