"""map_tensors: change the tensors inside a batch of any kind, and rebuild it as the same type."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from basetrainer.errors import UsageError

_IMAGE_CHANNELS = (1, 3, 4)


def map_tensors(
    batch: Any,
    change: Callable[[Tensor], Tensor],
    move: Callable[[Any], Any] | None = None,
) -> Any:
    """Return the batch with each tensor changed; every container keeps its type.

    Lists, tuples, named tuples, dicts, other mappings, dataclasses and attrs classes are descended
    into, subclasses included. Their ``__init__`` is not called again. The batch itself is left as
    it was; of a container in which nothing changes, other than a plain list, tuple or dict, it is
    the same object.

    Args:
        batch: Anything; what holds no tensors is returned as it is.
        change: What to do with a tensor.
        move: What to do with an object that has a ``to()`` of its own, such as a
            ``PackedSequence`` or a graph batch; None leaves it as it is.

    Raises:
        UsageError: If a mapping can be read, but not made anew.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    kind = type(batch)
    if kind is list or kind is tuple:
        items = [map_tensors(item, change, move) for item in batch]
        return items if kind is list else tuple(items)
    if kind is dict:
        return {key: map_tensors(value, change, move) for key, value in batch.items()}
    if batch is None or isinstance(batch, (str, bytes, int, float, type)):
        return batch
    if callable(getattr(kind, "to", None)):
        return batch if move is None else move(batch)
    if isinstance(batch, Mapping):
        values = {key: map_tensors(value, change, move) for key, value in batch.items()}
        if all(values[key] is batch[key] for key in values):
            return batch
        return _mapping_like(batch, values)
    if isinstance(batch, (list, tuple)):
        items = [map_tensors(item, change, move) for item in batch]
        if all(new is old for new, old in zip(items, batch, strict=True)):
            return batch
        return _sequence_like(batch, items)
    if has_fields(batch):
        fields = dict(instance_fields(batch))
        values = {name: map_tensors(value, change, move) for name, value in fields.items()}
        changed = {name: value for name, value in values.items() if value is not fields[name]}
        return _object_like(batch, fields | changed) if changed else batch
    return batch


def mover_to(device: torch.device | str) -> Callable[[Any], Any]:
    """Return a function that calls ``to(device)`` of an object, as ``map_tensors`` wants it."""

    def move(item: Any) -> Any:
        kind: Any = type(item)
        options = {"non_blocking": True} if _takes_non_blocking(kind) else {}
        moved = item.to(device, **options)
        return item if moved is None else moved  # some change in place

    return move


def tensor_to(tensor: Tensor, device: torch.device | str, *, channels_last: bool = False) -> Tensor:
    """Return the tensor on ``device``, without waiting for it.

    Args:
        tensor: One tensor of a batch.
        device: Where to.
        channels_last: Whether images get that memory format: 4-d tensors of floats, or of uint8
            with 1, 3 or 4 channels.
    """
    if channels_last and _is_images(tensor):
        return tensor.to(device, non_blocking=True, memory_format=torch.channels_last)
    return tensor.to(device, non_blocking=True)


def has_fields(item: Any) -> bool:
    """Whether an object is of a dataclass or attrs class, whose attributes are its parts."""
    kind = type(item)
    return hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__")


def instance_fields(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each attribute that an object holds, in slots or not."""
    for kind in type(item).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                if name.startswith("__") and not name.endswith("__"):
                    name = f"_{kind.__name__.lstrip('_')}{name}"  # as Python stores private names
                if hasattr(item, name):
                    yield name, getattr(item, name)
    yield from getattr(item, "__dict__", {}).items()


def _is_images(tensor: Tensor) -> bool:
    if tensor.ndim != 4 or tensor.layout is not torch.strided or tensor.is_nested:
        return False
    is_uint8 = tensor.dtype is torch.uint8 and tensor.shape[1] in _IMAGE_CHANNELS
    return is_uint8 or tensor.is_floating_point()


@functools.cache
def _takes_non_blocking(kind: Hashable) -> bool:
    if kind is PackedSequence:
        return True
    try:
        return "non_blocking" in inspect.signature(kind.to).parameters  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return False


def _mapping_like(batch: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return a mapping of the same type, and with the same attributes, that holds ``values``."""
    kind = type(batch)
    try:
        if isinstance(batch, dict) or (isinstance(batch, MutableMapping) and _copies_itself(kind)):
            made: Any = copy.copy(batch)
            for key, value in values.items():
                made[key] = value
            return made
        return kind(values)  # type: ignore[call-arg]
    except Exception as error:
        raise UsageError(
            f"A batch holds a {kind.__name__}, which cannot be made anew from its items ({error}). "
            f"Give it a method to(device), or let the collate_fn return a dict."
        ) from error


def _copies_itself(kind: type) -> bool:
    """Whether ``copy.copy`` gives it items of its own; the default one would share them."""
    return hasattr(kind, "__copy__")


def _sequence_like(batch: Any, items: list[Any]) -> Any:
    """Return a list or tuple of the same type, and with the same attributes, that holds items."""
    kind = type(batch)
    if isinstance(batch, list):
        made = copy.copy(batch)
        made[:] = items
        return made
    if hasattr(kind, "n_fields"):  # what torch.max(dim=...) returns: made by its type alone
        return kind(items)
    made = tuple.__new__(kind, items)
    vars(made).update(vars(batch)) if hasattr(batch, "__dict__") else None
    return made


def _object_like(item: Any, values: dict[str, Any]) -> Any:
    """Return an object of the same type with these attributes, also where it is frozen."""
    made = object.__new__(type(item))
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
