"""Old door: the loader functions at the path that existing programs import."""

from __future__ import annotations

from basetrainer._deprecated import warn_moved
from basetrainer.data.collation import Collation
from basetrainer.data.loader import build_dataloader
from basetrainer.distributed.strategy import build_model_parallel

__all__ = ["Collation", "build_dataloader", "build_model_parallel"]

warn_moved(
    __name__,
    "basetrainer.data.loader, basetrainer.data.collation or basetrainer.distributed.strategy",
)
