"""The state tree: what types may be in it, how it is copied, whether it is sound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer._tensor_file import check_attributes, read_tensor_file
from basetrainer._torch_private import metadata_of, set_metadata
from basetrainer.errors import CheckpointError, UsageError

_VALUES = (
    *(type(None), bool, int, float, complex, str),
    *(torch.dtype, torch.device, torch.Size),
)
_KEYS = (str, int, float, bool, type(None), tuple)
_MENDS = {
    "bytes": "x.hex()",  # b"" alone is refused by torch
    "bytearray": "x.hex()",
    "ndarray": "torch.as_tensor(x)",
    "float64": "float(x)",
    "float32": "float(x)",
    "int64": "int(x)",
    "int32": "int(x)",
    "bool": "bool(x)",
    "PosixPath": "str(x)",
    "WindowsPath": "str(x)",
    "defaultdict": "dict(x)",
    "Counter": "dict(x)",
    "deque": "list(x)",
    "Generator": "x.get_state()",
    "datetime": "x.isoformat()",
}
"""What to write in place of a type that cannot be read back, by the type's name."""


_PLAIN_TENSOR = "Write x.to_dense() or x.contiguous() in its place."


def check_tree(tree: Any, at: str) -> None:
    """Refuse what ``torch.load(weights_only=True)`` could not read back.

    Exact types count: a NumPy number, a named tuple or an enum is a subclass that is refused on
    loading, when it is too late.

    Args:
        tree: Any nesting of dicts, lists, tuples and sets.
        at: What the tree is, for the message, such as ``"EMA.state_dict()"``.

    Raises:
        UsageError: For the first value of another type; names its place and the mend.
    """
    kind = type(tree)
    if kind in _VALUES:
        return
    if kind in (Tensor, nn.Parameter):
        if (fault := _fault(tree)) is not None:
            raise UsageError(f"{at} {fault}, so it could not be loaded again. {_PLAIN_TENSOR}")
        return
    if kind in (dict, OrderedDict):
        for key, value in tree.items():
            if type(key) not in _KEYS:
                raise _refused(key, f"the key {key!r} of {at}")
            check_tree(value, f"{at}[{key!r}]")
    elif kind in (list, tuple, set):
        for place, value in enumerate(tree):
            check_tree(value, f"{at}[{place}]")
    else:
        raise _refused(tree, at)


def _refused(value: Any, at: str) -> UsageError:
    kind = type(value)
    mend = _MENDS.get(kind.__name__)
    return UsageError(
        f"{at} is a {kind.__module__}.{kind.__qualname__}, which could not be loaded again. A "
        f"checkpoint holds tensors, numbers, texts, lists, tuples, sets and dicts. "
        f"{f'Write {mend} in its place.' if mend else 'Return such values from state_dict().'}"
    )


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
    if tensor.layout is not torch.strided:
        return f"is {tensor.layout}"
    held = tensor.untyped_storage().nbytes()
    if tensor.nbytes > held:
        return f"has the shape {tuple(tensor.shape)}, but holds only {held} bytes"
    return None


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
        key = (tree.device, tree.data_ptr(), tree.dtype, tree.shape, tree.stride())
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
    """Whether no number in the tree's floating-point tensors is NaN or infinite."""
    # A sum is NaN or infinite if a term is; finite terms that overflow are looked at one by one.
    found = [
        tensor for _, tensor in tensors_of(tree) if tensor.is_floating_point() and tensor.numel()
    ]
    return all(
        bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())
        for tensor in found
    )


def size_of(tree: Any) -> int:
    """Return the bytes of the tree's tensors, each storage counted once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for _, tensor in tensors_of(tree)
    }
    return sum(storages.values())
