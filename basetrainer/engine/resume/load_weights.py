"""Load a file of weights, or a state dict, into a model, and say what does not fit."""

from __future__ import annotations

from typing import Any

from torch import nn

from basetrainer.distributed.model_state import load_full_state, own_state
from basetrainer.engine.resume.model_fit import check_model
from basetrainer.errors import CheckpointError
from basetrainer.models.finetune import named_like
from basetrainer.models.structure import structure_in, structure_of
from basetrainer.utils.torch_tools import load_state_dict, unwrap_state


def load_weights(model: nn.Module, checkpoint: Any) -> None:
    """Load weights into a model, in place.

    Args:
        model: May be wrapped.
        checkpoint: A file of weights, or a state dict.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it cannot be read, or is of another model.
    """
    is_state = isinstance(checkpoint, dict)
    state = unwrap_state(checkpoint) if is_state else load_state_dict(checkpoint)
    state = named_like(own_state(model), state)
    source = "The given state" if is_state else str(checkpoint)
    try:
        load_full_state(model, state)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        if structure_in(state) not in ({}, structure_of(model)):
            raise CheckpointError(
                f"{source} is of a pruned network: give the file as finetune. {error}"
            ) from error
        check_model(state, own_state(model), source)  # says it in one line
        raise CheckpointError(f"{source} does not fit the model: {error}") from error
