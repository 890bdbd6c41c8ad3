"""The file ``model_optimizer.pth``: write it, and resume from it as programs of old do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import nn

from basetrainer.callbacks.weights.tested_state import are_weights_finite
from basetrainer.callbacks.weights.weight_files import save
from basetrainer.checkpoint.tree import read_tree
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.model_state import full_state, load_full_state, own_state
from basetrainer.engine.resume.model_fit import check_model
from basetrainer.errors import CheckpointError
from basetrainer.utils.optimizer_state import load_saved_optimizer, optimizer_state
from basetrainer.utils.torch_tools import load_state_dict

logger = logging.getLogger(__name__)

MODEL_OPTIMIZER = "model_optimizer.pth"


def write_state(folder: Path, epoch: int, model: nn.Module, optimizer: Any) -> None:
    """Write model, optimizer and epoch; weights with NaN are not written.

    Collective where the model is sharded; rank 0 writes.
    """
    state = {
        "epoch": epoch,
        "model": full_state(model),
        "optimizer": optimizer_state(optimizer),
    }
    if DistContext.current().is_main and are_weights_finite(model, state["model"]):
        save(folder / MODEL_OPTIMIZER, state)


def resume_model(model: nn.Module, optimizer: Any, resume: Path, strict: bool) -> int:
    """Load a file into the model and the optimizer, and return the first epoch to train.

    See :meth:`~basetrainer.callbacks.model_checkpoint.ModelCheckpoint.resume_model`.
    """
    path = resume / MODEL_OPTIMIZER if resume.is_dir() else resume
    if not path.exists():
        logger.warning("resume_model: %s does not exist, so training starts at epoch 1.", path)
        return 0
    state = load_state_dict(path)
    try:
        load_full_state(model, state, strict=strict)
    except RuntimeError as error:
        check_model(state, own_state(model), str(path))  # says it in one line
        raise CheckpointError(f"{path} does not fit the model: {error}") from error
    try:
        found = read_tree(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if "epoch" not in found:
        return 0
    try:
        start_epoch = int(found["epoch"]) + 1
        if optimizer is not None and found.get("optimizer"):
            load_saved_optimizer(optimizer, found, model)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit the optimizer: {error}") from error
    return start_epoch
