"""What the folder of a run is made of, and what it says of the run without loading a tensor."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKPOINTS = "checkpoints"
"""The folder, in that of the run, of the checkpoints to go on from."""

MANIFEST = "manifest.json"
"""The file, in a checkpoint, that says what it holds."""

EXIT = "exit.json"
"""The file, in the folder of a run, that says how it ended."""

STAGES = "stages.json"
"""The file, in the folder of a run, of what is done in several trainings, one after the other."""

MAX_MANIFEST_BYTES = 16 << 20
"""A manifest is a few kB; larger files are not read."""

_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)
_NAME = re.compile(r"update-(\d{8,})(?:\.(\d+))?")


@dataclass(frozen=True)
class RunProgress:
    """How far a run came, by its newest checkpoint."""

    epochs: int
    """Finished epochs."""

    num_epochs: int
    """Epochs that it was to train."""

    ended: str | None
    """Why it was ended early for good; None if it was not."""

    resumed_from: str | None
    """The checkpoint of another run that it started from."""

    structure: dict[str, Any]
    """That of its network, if it is pruned."""

    has_stages_left: bool
    """Whether other trainings are to follow this one."""

    def is_finished(self, num_epochs: int) -> bool:
        """Whether a run of so many epochs has nothing left to do."""
        if self.has_stages_left:
            return False
        return self.epochs >= num_epochs or (
            self.ended is not None and num_epochs <= self.num_epochs
        )


def checkpoint_name(update: int, number: int = 0) -> str:
    """Return the name of a checkpoint; ``number`` tells several of one update apart."""
    return f"update-{update:08d}" + (f".{number}" if number else "")


def update_of(path: Path) -> int:
    """Return after how many updates a checkpoint of :func:`checkpoint_paths` was written."""
    return _place(path)[0]


def checkpoint_paths(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder of them, the newest first; none if there is no folder."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=_place, reverse=True)


def _place(path: Path) -> tuple[int, int]:
    update, number = _NAME.fullmatch(path.name).groups()  # type: ignore[union-attr] # it is one
    return int(update), int(number or 0)


def run_progress(run_folder: Path) -> RunProgress | None:
    """Return how far the run in a folder came; None if it left no checkpoint that can be read."""
    for path in checkpoint_paths(run_folder / CHECKPOINTS):
        try:
            file = path / MANIFEST
            if not file.is_file() or file.stat().st_size > MAX_MANIFEST_BYTES:
                continue
            manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return RunProgress(
                epochs=int(manifest["position"]["epoch"]),
                num_epochs=int(manifest["config"].get("num_epochs") or 1),
                ended=manifest["ended"],
                resumed_from=manifest["resumed_from"],
                structure=dict(manifest.get("structure") or {}),
                has_stages_left=not read_stages(run_folder).get("is_finished", True),
            )
        except _UNREADABLE:
            continue  # a damaged one: the run will say so when it goes on
    return None


def read_stages(run_folder: Path) -> dict[str, Any]:
    """Return what :data:`STAGES` holds; empty if no such file can be read."""
    try:
        stages: dict[str, Any] = json.loads((run_folder / STAGES).read_text(encoding="utf-8"))
    except _UNREADABLE:
        return {}
    return stages if type(stages) is dict else {}
