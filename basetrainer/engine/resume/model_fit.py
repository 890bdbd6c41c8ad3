"""Whether a state dict is that of a model, said before memory is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy

from basetrainer.errors import CheckpointError
from basetrainer.models.fresh import outgrown


def check_model(state: Any, own: Mapping[str, Tensor], source: str) -> None:
    """Compare keys and shapes, before memory is taken.

    What training itself added to the model, as buffers that grew, may differ; and layers that take
    their shape from the first batch.

    Raises:
        CheckpointError: If they differ; names up to three of them.
    """
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{source} holds no model.")
    free = outgrown(state)
    missing = [name for name in own if name not in state and name not in free]
    unexpected = [name for name in state if name not in own and name not in free]
    shapes = [
        f"{name} ({_shape(state[name])} there, {_shape(value)} here)"
        for name, value in own.items()
        if name in state
        and name not in free
        and isinstance(value, Tensor)
        and not is_lazy(value)
        and _shape(state[name]) != _shape(value)
    ]
    faults = [
        f"{what}: {', '.join(map(str, names[:3]))}{' and more' if len(names) > 3 else ''}"
        for what, names in (
            ("not in it", missing),
            ("not in the model", unexpected),
            ("of another shape", shapes),
        )
        if names
    ]
    if faults:
        raise CheckpointError(
            f"{source} is of another model ({'; '.join(faults)}). Build the model it was written "
            f"with, or load what fits with finetune."
        )


def _shape(value: Any) -> tuple[int, ...] | str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return tuple(value.shape) if not value.is_nested else f"{value.size(0)} nested tensors"
