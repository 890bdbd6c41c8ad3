"""The state of a model as it is saved and loaded, whatever it is wrapped in."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basetrainer._plain_values import Unwritable, decode, encode
from basetrainer.distributed.strategy import is_sharded, like, unwrap, whole
from basetrainer.errors import UsageError
from basetrainer.models.fresh import note_changes, regrow


def own_state(model: nn.Module) -> dict[str, Any]:
    """Return the state of the user's model as this process has it; shapes are those of the whole.

    It is not collective; see :func:`full_state` for what can be saved.
    """
    return unwrap(model).state_dict()


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of the user's model, with the user's keys; collective.

    Of a sharded model only rank 0 gets it, on the CPU; the others get nothing. What a layer returns
    from ``get_extra_state`` is written so that any file can hold it; what training added to the
    model (buffers that grew, layers that were unfrozen) is noted in its metadata.

    Raises:
        UsageError: If a layer's extra state could not be loaded again; names the layer.
    """
    state: dict[str, Tensor] = whole(own_state(model))
    if is_sharded(model) and dist.get_rank():
        return {}
    for name, value in state.items():
        # A layer that takes its shape from the first batch has no numbers yet.
        if not (isinstance(value, Tensor) and is_lazy(value)):
            try:
                state[name] = encode(value, name)
            except Unwritable as error:
                what = error.reason or f"is a {type(error.value).__qualname__}"
                raise UsageError(
                    f"{error.place} of {type(unwrap(model)).__name__} {what}, so it could not be "
                    f"loaded again. Let buffers and get_extra_state hold tensors, arrays, numbers, "
                    f"texts, lists and dicts of such."
                ) from error
    note_changes(unwrap(model), state)
    return state


def load_full_state(model: nn.Module, state: dict[str, Tensor], *, strict: bool = True) -> None:
    """Load what :func:`full_state` returned, whatever the wrapper then and now.

    Raises:
        RuntimeError: If it is of another model, as ``load_state_dict`` does; or a ValueError, if
            something that training added cannot be added again.
    """
    if is_sharded(model):
        own = own_state(model)
        placed = {name: like(value, own.get(name)) for name, value in state.items()}
        state = type(state)(placed)
    else:
        regrow(unwrap(model), state)
    unwrap(model).load_state_dict(decode(state), strict=strict)
