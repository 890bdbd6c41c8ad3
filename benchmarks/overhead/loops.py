"""The loops that are compared: where each one's environment is, and what it can do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Loop:
    """A module of this folder with ``train(work) -> model``.

    Args:
        environment: The folder, in that of the environments, of its python; empty for this one.
        distribution: Whose version is told; empty if there is none.
        levels: What it can do.
        title: How it is called in tables, if not as its distribution.
    """

    environment: str = ""
    distribution: str = ""
    levels: tuple[str, ...] = ("bare", "full")
    title: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is this library."""
        return self.title.startswith(OURS)

    def python(self, peers: Path) -> Path:
        """Return the python that runs it."""
        return peers / self.environment / "bin" / "python" if self.environment else _THIS

    def is_there(self, peers: Path) -> bool:
        """Whether its environment was made."""
        return self.python(peers).exists()


OURS = "basetrainer 2"
LEVELS = {
    "bare": "forward, backward, update",
    "full": "everything recorded",
    "safe": "recorded, averaged weights, checkpoints",
}
_THIS = Path(sys.executable)
_ALL_LEVELS = tuple(LEVELS)

LOOPS = {
    "raw": Loop(levels=_ALL_LEVELS, title="raw against itself"),
    "by_hand": Loop(levels=_ALL_LEVELS, title="best by hand"),
    "by_hand_short": Loop(levels=_ALL_LEVELS, title="by hand, our shortcuts"),
    "ours": Loop(levels=_ALL_LEVELS, title=OURS),
    "ours_unmarked": Loop(levels=_ALL_LEVELS, title=f"{OURS}, data not marked"),
    "basetrainer_1_0_4_loop": Loop("basetrainer_1_0_4", "basetrainer"),
    "ignite_loop": Loop("ignite", "pytorch-ignite"),
    "poutyne_loop": Loop("poutyne", "poutyne"),
    "skorch_loop": Loop("skorch", "skorch"),
    "mmengine_loop": Loop("mmengine", "mmengine"),
    "accelerate_loop": Loop("accelerate", "accelerate"),
    "pytorch_accelerated_loop": Loop("pytorch_accelerated", "pytorch-accelerated"),
    "lightning_loop": Loop("lightning", "lightning"),
    "fastai_loop": Loop("fastai", "fastai"),
    "transformers_loop": Loop("transformers", "transformers"),
}
