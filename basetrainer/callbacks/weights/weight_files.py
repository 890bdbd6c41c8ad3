"""WeightFiles: the ``.pth`` files of weights in a folder, named after epoch and metric."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch

from basetrainer._monitor import Monitor
from basetrainer.checkpoint.tree import size_of
from basetrainer.utils.file_utils import copy_atomically, write_atomically

BEST, LATEST, KEPT = "best_model", "latest_model", "model"
"""Kinds of files: of the best epoch, of the last one, and those that stay."""

_BEST = re.compile(rf"{BEST}_\d{{3,}}_(-?[\d.]+|-?inf)\.pth")


class WeightFiles:
    """Writes ``KIND_EEE_V.VVVV.pth``: EEE is the epoch, V the value, left out if there is none.

    Each file is written whole or not at all. No two of them share their bytes: whoever changes one
    in place changes no other.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own: dict[str, Path] = {}  # the file of each kind that the next one replaces
        self._last: tuple[Any, Path] | None = None  # the state written last, and its file

    def path(self, kind: str, epoch: int, value: float | None) -> Path:
        """Return the file of a kind, epoch and value."""
        return self.folder / f"{kind}_{epoch:03d}{'' if value is None else f'_{value:.4f}'}.pth"

    def write(self, kind: str, epoch: int, value: float | None, state: dict[str, Any]) -> Path:
        """Write a file that stays."""
        path = self.path(kind, epoch, value)
        if self._last is None or self._last[0] is not state:
            save(path, state)
        elif self._last[1] != path:
            copy_atomically(self._last[1], path)
        self._last = state, path
        return path

    def replace(
        self,
        kind: str,
        epoch: int,
        value: float | None,
        state: dict[str, Any],
        others: Collection[Path] = (),
    ) -> Path:
        """Write a file, then remove the one of its kind that this run wrote before.

        Args:
            kind: ``best_model`` or ``latest_model``.
            epoch: From 0.
            value: Of the monitored metric.
            state: What is written.
            others: Files in this folder that somebody else replaces; they are left alone.
        """
        path = self.write(kind, epoch, value, state)
        before = self._own.get(kind)
        stale = [before] if before is not None else []
        if before is None and kind == LATEST:  # of an earlier run
            stale = list(self.folder.glob(f"{LATEST}_*.pth"))
        for one in stale:
            if one != path and one not in others:
                one.unlink(missing_ok=True)
        self._own[kind] = path
        return path

    def path_of(self, kind: str) -> Path | None:
        """Return the file of a kind that the next one replaces; None if there is none yet."""
        return self._own.get(kind)

    def note(self, kind: str, path: Path) -> None:
        """Remember the file of a kind that another process has written."""
        self._own[kind] = path

    def shares_folder(self, callback: object) -> bool:
        """Whether a callback writes its weights to this folder, too."""
        other = getattr(callback, "weight_files", None)
        return isinstance(other, WeightFiles) and other.folder.absolute() == self.folder.absolute()

    def of_others(self, callbacks: Iterable[Any]) -> set[Path]:
        """Return the files in this folder that the next ones of other callbacks replace."""
        others = [one.weight_files for one in callbacks if self.shares_folder(one)]
        return {
            self.folder / path.name
            for other in others
            if other is not self
            for path in other._own.values()
        }

    def remove_worse(
        self, names: Iterable[str], value: float, monitor: Monitor, kept: Collection[Path]
    ) -> list[str]:
        """Remove best models of earlier runs that are worse than this one's; return the others.

        Args:
            names: Of files whose values are those of the monitored metric.
            value: That of this run's best model.
            monitor: Says what is worse.
            kept: Files that are left alone: this run's.
        """
        rounded = float(f"{value:.4f}")  # as in names: what looks alike may be better
        left = []
        for name in dict.fromkeys(Path(name).name for name in names):
            path, named = self.folder / name, _BEST.fullmatch(name)
            if path in kept or named is None or not path.is_file():
                continue
            if monitor.is_better(rounded, float(named[1])):
                path.unlink(missing_ok=True)
            else:
                left.append(name)
        return left

    def forget(self) -> None:
        """Let go of the state that was written last; it will change."""
        self._last = None

    def state_dict(self) -> dict[str, str]:
        """Return the names of the files that the next ones replace, by kind."""
        return {kind: path.name for kind, path in self._own.items()}

    def load_state_dict(self, state: dict[str, str], *, with_best: bool = True) -> None:
        """Take back what :meth:`state_dict` returned; without the best file, it is left alone."""
        names = {kind: Path(name).name for kind, name in state.items()}
        self._own = {
            kind: self.folder / name for kind, name in names.items() if with_best or kind != BEST
        }


def save(path: Path, state: Any) -> None:
    """Write a state, whole or not at all.

    Raises:
        StorageError: If there is no room for it.
    """
    write_atomically(path, lambda file: torch.save(state, file), size_of(state))
