"""WeightFiles: the ``.pth`` files of weights in a folder, named after epoch and figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from basetrainer.checkpoint.tree import size_of
from basetrainer.utils.file_utils import link_or_copy, write_atomically
from basetrainer.utils.monitor import Monitor

_NAMED = re.compile(r"_(\d{3,})(?:_(-?[\d.]+|-?inf))?\.pth$")


class WeightFiles:
    """Writes ``KIND_EEE_V.VVVV.pth``: EEE is the epoch, V the figure, left out if there is none.

    Each file is written whole or not at all. Several files of the same state are one file with
    several names, where the disk has hard links.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own: dict[str, Path] = {}  # the file of each kind that the next one replaces
        self._last: tuple[Any, Path] | None = None  # the state written last, and its file

    def write(self, kind: str, epoch: int, figure: float | None, state: dict[str, Any]) -> Path:
        """Write a file that stays."""
        value = "" if figure is None else f"_{figure:.4f}"
        path = self.folder / f"{kind}_{epoch:03d}{value}.pth"
        if self._last is not None and self._last[0] is state:
            link_or_copy(self._last[1], path)
        else:
            save(path, state)
        self._last = state, path
        return path

    def replace(self, kind: str, epoch: int, figure: float | None, state: dict[str, Any]) -> Path:
        """Write a file, then remove the one of its kind that this run wrote before."""
        path = self.write(kind, epoch, figure, state)
        before = self._own.get(kind)
        if before is None and kind == "latest_model":
            for stale in self.folder.glob("latest_model_*.pth"):
                if stale != path:
                    stale.unlink(missing_ok=True)
        elif before is not None and before != path:
            before.unlink(missing_ok=True)
        self._own[kind] = path
        return path

    def path_of(self, kind: str) -> Path | None:
        """Return the file of a kind that the next one replaces; None if there is none yet."""
        return self._own.get(kind)

    def remove_worse(self, kept: Path, figure: float, monitor: Monitor) -> None:
        """Remove the best models of earlier runs in this folder that are worse than this one."""
        for path in self.folder.glob("best_model_*.pth"):
            named = _NAMED.search(path.name)
            value = float(named[2]) if named and named[2] else None
            if path != kept and value is not None and monitor.is_better(figure, value):
                path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Let go of the state that was written last; it will change."""
        self._last = None

    def state_dict(self) -> dict[str, str]:
        """Return the names of the files that the next ones replace, by kind."""
        return {kind: path.name for kind, path in self._own.items()}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._own = {kind: self.folder / Path(name).name for kind, name in state.items()}


def save(path: Path, state: Any) -> None:
    """Write a state, whole or not at all.

    Raises:
        StorageError: If there is no room for it.
    """
    write_atomically(path, lambda file: torch.save(state, file), size_of(state))
