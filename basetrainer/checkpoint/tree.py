"""The state tree: what types may be in it, how it is copied, whether it is sound."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basetrainer._plain_values import Unwritable, encode
from basetrainer._tensor_file import check_attributes, read_tensor_file
from basetrainer._torch_private import metadata_of, set_metadata
from basetrainer.errors import CheckpointError, UsageError

_MENDS = {
    "object array": "a list of its values",
    "Enum": "x.name",
    "dataclass": "dataclasses.asdict(x)",
    "namedtuple": "tuple(x)",
    "Module": "x.state_dict()",
    "function": "its name",
}
"""What to write in place of a value that cannot be read back, by what it is."""


def check_tree(tree: Any, at: str) -> None:
    """Refuse what could not be read back from a file with ``torch.load(weights_only=True)``.

    Args:
        tree: Any nesting of dicts, lists, tuples and sets.
        at: What the tree is, for the message, such as ``"EMA.state_dict()"``.

    Raises:
        UsageError: For the first value that cannot be; names its place and what to write instead.
    """
    writable(tree, at)


def writable(tree: Any, at: str) -> Any:
    """Return the tree as a file holds it; ``decode`` makes of that what it was.

    Types that hold nothing but data (arrays, paths, dates, deques, generators of random numbers)
    are written as plain values; see :mod:`basetrainer._plain_values`.

    Args:
        tree: As for :func:`check_tree`.
        at: Likewise.

    Raises:
        UsageError: As there.
    """
    try:
        return encode(tree, at)
    except Unwritable as error:
        raise _refused(error.value, error.place, error.reason) from None
    except RecursionError:
        raise UsageError(f"{at} holds itself, or is nested too often to be saved.") from None


def _refused(value: Any, at: str, reason: str) -> UsageError:
    if isinstance(value, Tensor) and reason:
        return UsageError(f"{at} {reason}, so it could not be loaded again.")
    kind = type(value)
    what = f"{at} is a {kind.__module__}.{kind.__qualname__}"
    mend = next((mend for name, mend in _MENDS.items() if _is_a(name, value)), None)
    if isinstance(value, Tensor):
        mend = "x.as_subclass(torch.Tensor)"
    return UsageError(
        f"{what}, which could not be loaded again{f': {reason}' if reason else ''}. A checkpoint "
        f"holds tensors, arrays, numbers, texts, dates, lists, tuples, sets and dicts. "
        f"{f'Write {mend} in its place.' if mend else 'Return such values from state_dict().'}"
    )


def _is_a(name: str, value: Any) -> bool:
    return {
        "object array": isinstance(value, np.ndarray),
        "Enum": isinstance(value, enum.Enum),
        "dataclass": dataclasses.is_dataclass(value),
        "namedtuple": isinstance(value, tuple) and hasattr(value, "_fields"),
        "Module": isinstance(value, nn.Module),
        "function": callable(value),
    }[name]


def tensors_of(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of the tree and its place."""
    if isinstance(tree, Tensor):
        yield "", tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            for place, tensor in tensors_of(value):
                yield f"[{key!r}]{place}", tensor
    elif isinstance(tree, (list, tuple)):
        for number, value in enumerate(tree):
            for place, tensor in tensors_of(value):
                yield f"[{number}]{place}", tensor


def read_tree(file: Path) -> Any:
    """Return the tree in a file, on the CPU.

    Raises:
        CheckpointError: If it cannot be read or says to be larger than it is; says why ("it is cut
            off").
    """
    tree = read_tensor_file(file)
    check_loaded(tree, file.stat().st_size)
    return tree


def check_loaded(tree: Any, num_bytes: int = 0) -> None:
    """Refuse a tree that says to be larger than what was read; nothing that we write is so.

    A file of 2 kB can declare a tensor of 10^12 elements that all share one number, or a list of
    lists of lists ... that are all the same one: copying it would take all memory, or for ever.

    Args:
        tree: As it was loaded.
        num_bytes: Of the file.

    Raises:
        CheckpointError: Names the place, as above.
    """
    if _weight(tree) > _MAX_SHARED + num_bytes:
        raise CheckpointError("it holds lists or dicts that are nested too often")
    for place, tensor in tensors_of(tree):
        if (fault := _fault(tensor)) is not None:
            raise CheckpointError(f"the tensor at {place} {fault}")
    if num_bytes and size_of(tree) > num_bytes:
        raise CheckpointError("it holds tensors that say to be larger than the file")


def _fault(tensor: Tensor) -> str | None:
    """Say why a tensor is not one whose numbers all stand in its storage; None if it is."""
    if tensor.is_meta:
        return "has no numbers"
    for part in dense_parts(tensor):
        held = part.untyped_storage().nbytes()
        if part.nbytes > held:
            return f"has the shape {tuple(part.shape)}, but holds only {held} bytes"
    return None


_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """Return the dense tensors that a sparse or nested one is made of; of others itself."""
    if tensor.is_nested:
        return list(tensor.detach().unbind())
    if tensor.layout is torch.sparse_coo:
        whole = tensor.detach().coalesce()
        return [whole.values(), whole.indices()]
    if tensor.layout in _COMPRESSED:
        indices = [getattr(tensor, name)() for name in _COMPRESSED[tensor.layout]]
        return [tensor.detach().values(), *indices]
    return [tensor]


_MAX_SHARED = 1_000_000
"""How many values may come from containers that stand in several places."""


def _weight(tree: Any) -> float:
    """Return how many values a tree stands for, shared parts counted each time."""
    sizes: dict[int, int] = {}

    def weigh(part: Any) -> int:
        check_attributes(part)
        if isinstance(part, bytearray):  # whose size is but a number in the file
            raise CheckpointError("it holds a bytearray")
        if not isinstance(part, (dict, list, tuple)):
            return 1
        if id(part) not in sizes:
            sizes[id(part)] = 0
            values = part.values() if isinstance(part, dict) else part
            sizes[id(part)] = 1 + sum([weigh(value) for value in values])
        elif not sizes[id(part)]:  # we are inside it
            raise RecursionError
        return sizes[id(part)]

    try:
        return weigh(tree)
    except RecursionError:
        return float("inf")


def snapshot(tree: Any) -> Any:
    """Return a copy of the tree on the CPU; tensors that are one tensor stay one."""
    return _copied(tree, {})


def _copied(tree: Any, known: dict[Any, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        is_plain = tree.layout is torch.strided and not tree.is_nested
        place = tree.data_ptr() if is_plain and tree.numel() else id(tree)
        key = (tree.device, place, tree.dtype, *((tree.shape, tree.stride()) if is_plain else ()))
        if key not in known:
            known[key] = tree.detach().to("cpu", copy=True)
        return known[key]
    if isinstance(tree, dict):
        copy = type(tree)((key, _copied(value, known)) for key, value in tree.items())
        if (metadata := metadata_of(tree)) is not None:  # the layers' versions of the format
            set_metadata(copy, metadata)
        return copy
    if type(tree) in (list, tuple):
        return type(tree)(_copied(value, known) for value in tree)
    return tree


@torch.no_grad()
def is_finite(tree: Any) -> bool:
    """Whether no number in the tree's floating-point or complex tensors is NaN or infinite.

    Which tensors should be: see :func:`~basetrainer.models.learned.learned_state`.
    """
    return all(
        _is_finite(part)
        for _, tensor in tensors_of(tree)
        for part in dense_parts(tensor)
        if (part.is_floating_point() or part.is_complex()) and part.numel()
    )


def _is_finite(tensor: Tensor) -> bool:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.element_size() < 2:  # torch computes nothing with float8
        tensor = tensor.float()
    # A sum is NaN or infinite if a term is; finite terms that overflow are looked at one by one.
    is_sound = bool(tensor.sum(dtype=torch.float32).isfinite())
    return is_sound or bool(tensor.isfinite().all())


def size_of(tree: Any) -> int:
    """Return the bytes of the tree's tensors, each storage counted once."""
    storages = {
        part.untyped_storage().data_ptr(): part.untyped_storage().nbytes()
        for _, tensor in tensors_of(tree)
        for part in dense_parts(tensor)
    }
    return sum(storages.values())
