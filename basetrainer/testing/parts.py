"""Whether a trainer has what checks of parts of a batch need."""

from __future__ import annotations

from collections import Counter

from basetrainer._wrappers import unwrap
from basetrainer.engine.trainer import EngineTrainer


def batch_size_of(trainer: EngineTrainer) -> int:
    """Return the batch size of a trainer whose batches are to be halved.

    Raises:
        AssertionError: If it is not even.
    """
    batch_size = int(getattr(trainer.train_loader, "batch_size", None) or 0)
    if batch_size < 2 or batch_size % 2:
        raise AssertionError(
            f"The training loader has batch_size {batch_size}: an even one is needed, whose halves "
            f"are compared with it."
        )
    return batch_size


def check_network(trainer: EngineTrainer) -> None:
    """Refuse a network that sees each part of a batch for itself."""
    model = unwrap(trainer.model)
    found = Counter(
        type(one).__name__
        for one in model.modules()
        if "BatchNorm" in type(one).__name__
        or ("Dropout" in type(one).__name__ and float(getattr(one, "p", 1)) > 0)
    )
    if found:
        told = " and ".join(f"{count} {name}" for name, count in found.items())
        raise AssertionError(
            f"{type(model).__name__} has {told}, which see each part of a batch for itself, so "
            f"this check cannot hold. Let make return a trainer whose network has none of them."
        )


def check_batch_size(trainer: EngineTrainer, batch_size: int) -> None:
    """Refuse a trainer whose loader has not the batch size that make was called with."""
    found = getattr(trainer.train_loader, "batch_size", None)
    if found != batch_size:
        raise AssertionError(
            f"make(batch_size={batch_size}) returned a trainer with batches of {found}: let "
            f"build_train_loader take cfg.batch_size."
        )
