"""batch_size: how many samples a batch of any shape has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from basetrainer.errors import UsageError
from basetrainer.utils.nested import has_fields, instance_fields

_LABEL_KEYS = ("label", "labels", "target", "targets", "y")
_COUNTS = ("num_graphs", "batch_size")
"""Attributes by which graph batches and the like say their size."""


def batch_size(inputs: Any, *, strict: bool = True) -> int:
    """Return the number of samples of a batch: what its parts agree on.

    A tensor or array has as many as its first dimension, a ``PackedSequence`` as many as it has
    sequences, an object with ``num_graphs`` or ``batch_size`` what that says. Parts are the items
    of a list, tuple or mapping, and the attributes of a dataclass or attrs object. A list inside a
    batch may be one item per sample (images of several sizes, a dict of boxes for each image) or
    several views of all samples: the other parts say which. Numbers, texts and scalars do not
    count, unless they are a column, one for each sample. Where parts disagree, the labels decide.

    Args:
        inputs: A batch of any kind; nothing in it is read from the device.
        strict: Whether to refuse a batch whose parts disagree, and whose labels do not decide;
            otherwise the first part counts.

    Returns:
        The number of samples; 1 where nothing in it has a size.

    Raises:
        UsageError: If the parts disagree, and ``strict`` is true.
    """
    kind = type(inputs)
    if (kind is list or kind is tuple) and len(inputs) == 2:  # the usual case, without a detour
        first, second = inputs
        if isinstance(first, Tensor) and isinstance(second, Tensor) and first.ndim and second.ndim:
            size = first.size(0)
            if second.size(0) == size:
                return size
    own = _own_size(inputs)
    if own is not None:
        return own
    if isinstance(inputs, (list, tuple)) and _are_rows(inputs):
        return len(inputs)
    parts = _parts(inputs)
    found = {name: sizes for name, part in parts.items() if (sizes := _sizes(part))}
    if not found:
        return len(inputs) if isinstance(inputs, (list, tuple)) and inputs else 1
    if (common := _common(list(found.values()))) is not None:
        return common
    if (decided := _decided(parts, found)) is not None:
        return decided
    if not strict:
        return next(iter(found.values()))[0]
    told = ", ".join(f"{name}: {' or '.join(map(str, sizes))}" for name, sizes in found.items())
    raise UsageError(
        f"How many samples has this batch? Its parts disagree ({told}). Override "
        f"loss_count(self, inputs, outputs, losses), and return over how many things the losses "
        f"of a batch were averaged."
    )


def _own_size(part: Any) -> int | None:
    """Return the size that a thing says of itself, None if it does not."""
    if isinstance(part, Tensor):
        return part.size(0) if part.ndim else 1  # of a nested tensor, too
    if isinstance(part, PackedSequence):
        return int(part.batch_sizes[0])  # on the CPU, always
    if isinstance(part, np.ndarray):
        return len(part) if part.ndim else 1
    if isinstance(part, (str, bytes, Mapping, list, tuple)) and not hasattr(type(part), "to"):
        return None
    for name in _COUNTS:
        size = getattr(part, name, None)
        if isinstance(size, Sequence) and not isinstance(size, str) and size:  # a torch.Size
            size = size[0]
        if isinstance(size, int) and not isinstance(size, bool):
            return size
    if hasattr(type(part), "to") and not isinstance(part, (Mapping, list, tuple)):
        # A batch class of the user's own counts where its tensors agree.
        return _common(
            [sizes for one in getattr(part, "__dict__", {}).values() if (sizes := _sizes(one))]
        )
    return None


def _parts(part: Any) -> dict[str, Any]:
    """Return the parts of a container by name; nothing if it is none."""
    if isinstance(part, Mapping):
        return {str(name): value for name, value in part.items()}
    if isinstance(part, (list, tuple)):
        return {str(place): value for place, value in enumerate(part)}
    return dict(instance_fields(part)) if has_fields(part) else {}


def _is_scalar(part: Any) -> bool:
    if isinstance(part, (Tensor, np.ndarray)):
        return part.ndim == 0
    return part is None or isinstance(part, (str, bytes, int, float, np.generic))


def _are_rows(batch: Sequence[Any]) -> bool:
    """Whether a batch is a list of samples, as they came from the dataset.

    Then each of them has scalars in it, such as a class index, or tensors that disagree.
    """
    if not all(isinstance(row, (Mapping, list, tuple)) and row for row in batch) or not batch:
        return False
    rows = [list(_parts(row).values()) for row in batch]
    if all(any(map(_is_scalar, row)) and not all(map(_is_scalar, row)) for row in rows):
        return True
    if not isinstance(batch[0], Mapping):
        return False
    return any(_common([sizes for part in row if (sizes := _sizes(part))]) is None for row in rows)


def _sizes(part: Any) -> tuple[int, ...]:
    """Return the numbers of samples that a part may stand for, the likeliest first."""
    if _is_scalar(part):
        return ()
    own = _own_size(part)
    if own is not None:
        return (own,)
    inner = [sizes for one in _parts(part).values() if (sizes := _sizes(one))]
    agreed = _common(inner) if inner else None
    if isinstance(part, (list, tuple)) and part and not hasattr(part, "_fields"):
        if agreed in (None, len(part)):
            return (len(part),)
        return (agreed, len(part)) if all(map(_may_be_view, part)) else (len(part), agreed)
    return () if agreed is None else (agreed,)


def _may_be_view(part: Any) -> bool:
    """Whether a part may hold all samples, rather than being one of them, such as an image."""
    is_image = isinstance(part, Tensor) and part.ndim == 3 and part.size(0) in (1, 3, 4)
    return isinstance(part, Tensor) and not is_image


def _common(found: Sequence[tuple[int, ...]]) -> int | None:
    """Return the first number that is possible for all parts."""
    if not found:
        return None
    return next((one for one in found[0] if all(one in sizes for sizes in found[1:])), None)


def _decided(parts: Mapping[str, Any], found: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return what the labels say, or most of the parts; None if neither does."""
    key = next((one for one in _LABEL_KEYS if one in found and len(found[one]) == 1), None)
    if key is not None:
        return found[key][0]
    votes = Counter(size for sizes in found.values() for size in sizes).most_common(2)
    if len(votes) == 1 or votes[0][1] > votes[1][1]:
        return votes[0][0]
    # As for inputs (T, N, ...) and labels (N,): the labels' size must be one of the inputs'.
    first, second = parts.get("0"), parts.get("1")
    if isinstance(first, Tensor) and isinstance(second, Tensor) and second.ndim:
        size = second.size(0)
        return size if size in first.shape[:2] else None
    return None
