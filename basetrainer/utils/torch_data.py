"""Old door: the loader functions at the path that existing programs import."""

from __future__ import annotations

from basetrainer.data.collation import Collation
from basetrainer.data.loader import build_dataloader
from basetrainer.distributed.strategy import build_model_parallel

__all__ = ["Collation", "build_dataloader", "build_model_parallel"]
