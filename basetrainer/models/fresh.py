"""What a network was when it was built, so that what training added to it can be built again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basetrainer._torch_private import metadata_of, set_metadata

_FRESH = "_fresh"
_CHANGED = "changed"


def note_fresh(model: nn.Module) -> None:
    """Note on a model what it is before its first step; a second call changes nothing.

    Args:
        model: The user's model, not wrapped.
    """
    if _FRESH not in vars(model):
        vars(model)[_FRESH] = (_shapes(model), _frozen(model))


def changed_since_fresh(model: nn.Module) -> dict[str, Any]:
    """Return what training changed in the make of a model; empty for nearly all.

    ::

        {"shapes": {"bank": [[0, 3], "torch.float32"], "scale": None},  # as when it was built
         "requires_grad": {"0.weight": True}}                           # as it is now

    Buffers that appear, grow, shrink or vanish, or are assigned with another type, are among the
    shapes, and parameters whose data did.
    """
    if _FRESH not in vars(model):
        return {}
    (then, frozen_then), now, frozen = vars(model)[_FRESH], _shapes(model), _frozen(model)
    shapes = {
        name: then.get(name)
        for name in (*then, *(name for name in now if name not in then))
        if then.get(name) != now.get(name) and then.get(name) != "lazy"
    }
    requires_grad = {
        name: not is_frozen
        for name, is_frozen in frozen.items()
        if frozen_then.get(name, is_frozen) != is_frozen
    }
    changed = {"shapes": shapes, "requires_grad": requires_grad}
    return {key: value for key, value in changed.items() if value}


def note_changes(model: nn.Module, state: dict[str, Any]) -> None:
    """Let a state dict of the model hold what :func:`changed_since_fresh` returns."""
    changed = changed_since_fresh(model)
    if not changed:
        return
    if type(state) is dict:
        return  # of a sharded model, in which nothing grows
    metadata = metadata_of(state)
    if metadata is None:
        metadata = {}
        set_metadata(state, metadata)
    metadata[""] = {**metadata.get("", {}), _CHANGED: changed}


def changes_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`note_changes` noted; empty if nothing."""
    metadata = metadata_of(state) or {}
    changed = metadata.get("", {}).get(_CHANGED) if isinstance(metadata, Mapping) else None
    if not isinstance(changed, dict):
        return {}
    parts = {key: changed.get(key) for key in ("shapes", "requires_grad")}
    return {key: part for key, part in parts.items() if _has_names(part)}


def _has_names(part: Any) -> bool:
    """Whether a part is as it was noted; a file can hold anything."""
    return type(part) is dict and all(type(name) is str for name in part)


def outgrown(state: Mapping[str, Any]) -> set[str]:
    """Return the names in a state dict that need not be as the model that was just built has it."""
    return set(changes_in(state).get("shapes", ()))


def regrow(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Make a model that was just built what it was when ``state`` was taken, but for its numbers.

    Args:
        model: The user's model, not wrapped; its parameters stay the same objects.
        state: Its state dict of then.

    Raises:
        ValueError: If something cannot be made again; names it.
    """
    changed = changes_in(state)
    for name in changed.get("shapes", ()):
        _regrow(model, name, state.get(name))
    for layer in model.modules():
        for name, buffer in list(layer.named_buffers(recurse=False)):
            if _repeats(buffer):  # nothing can be copied into it
                setattr(layer, name, buffer.contiguous())
    restore_flags(model, state)


def restore_flags(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Freeze and unfreeze what was frozen or unfrozen while training until ``state`` was taken."""
    changed = changes_in(state)
    for name, one in model.named_parameters(remove_duplicate=False):
        if (requires := changed.get("requires_grad", {}).get(name)) is not None:
            one.requires_grad_(bool(requires))


def _regrow(model: nn.Module, full_name: str, value: Tensor | None) -> None:
    path, _, name = full_name.rpartition(".")
    try:
        layer = model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(
            f"{full_name} came while training, in a layer that the model does not begin with"
        ) from error
    known: Any = getattr(layer, name, None)
    if isinstance(known, nn.Parameter):
        if value is None:
            raise ValueError(f"the parameter {full_name} was taken out while training")
        known.data = torch.empty_like(value, device=known.device)
        return
    if known is not None and not isinstance(known, Tensor):
        raise ValueError(f"{full_name} became a tensor while training")
    device = _device(layer, model) if known is None else known.device
    made = None if value is None else value.detach().to(device, copy=True)
    if hasattr(layer, name) and name not in dict(layer.named_buffers(recurse=False)):
        try:
            setattr(layer, name, made)  # a buffer that is None is one
        except TypeError as error:  # a parameter that is None
            raise ValueError(
                f"the parameter {full_name} came while training; let the model begin with it"
            ) from error
        if made is not None and name not in dict(layer.named_buffers(recurse=False)):
            delattr(layer, name)  # it was a plain attribute
            layer.register_buffer(name, made)
    elif hasattr(layer, name):
        setattr(layer, name, made)
    elif made is not None:
        layer.register_buffer(name, made)


def _repeats(tensor: Tensor) -> bool:
    """Whether several numbers of a tensor are one in memory, as ``expand`` makes them."""
    if tensor.layout is not torch.strided or tensor.is_nested or is_lazy(tensor):
        return False
    return any(
        step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)
    )


def _device(layer: nn.Module, model: nn.Module) -> torch.device:
    tensors = (*layer.parameters(), *layer.buffers(), *model.parameters())
    return next((one.device for one in tensors), torch.device("cpu"))


def _shapes(model: nn.Module) -> dict[str, Any]:
    state = model.state_dict(keep_vars=True)
    return {name: _shape(value) for name, value in state.items() if isinstance(value, Tensor)}


def _shape(value: Tensor) -> Any:
    if is_lazy(value):
        return "lazy"  # the first batch, or a state, says what it becomes
    if value.is_nested:
        return [[list(one.shape) for one in value.unbind()], str(value.dtype)]
    return [list(value.shape), str(value.dtype)]


def _frozen(model: nn.Module) -> dict[str, bool]:
    return {
        name: not one.requires_grad for name, one in model.named_parameters(remove_duplicate=False)
    }
