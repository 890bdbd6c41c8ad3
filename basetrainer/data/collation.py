"""Collation: batches of items that cannot all be stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate


class Collation:
    """A ``collate_fn`` that stacks what can be stacked and leaves the rest as lists.

    Args:
        stacks: Per key (of dict items) or position (of tuple items), whether to stack; by default
            everything that can be: tensors and arrays of one shape, and numbers.

    Raises:
        TypeError: When called on items that are neither dicts nor tuples nor lists.
    """

    def __init__(self, stacks: Mapping[Any, bool] | None = None) -> None:
        self.stacks = dict(stacks or {})

    def __call__(self, batch: Sequence[Any]) -> Any:
        """Join the items of a batch: dicts to a dict, tuples to a list, by key or position."""
        first = batch[0]
        if isinstance(first, Mapping):
            return {key: self._join(key, [item[key] for item in batch]) for key in first}
        if isinstance(first, (tuple, list)):
            return [
                self._join(place, list(column))
                for place, column in enumerate(zip(*batch, strict=True))
            ]
        raise TypeError(
            f"Collation joins dicts or tuples, but the dataset returned a {type(first).__name__}."
        )

    @property
    def is_deterministic(self) -> bool:
        """Whether nothing is drawn here, so that no generator need be seeded for it."""
        return type(self) is Collation

    def _join(self, key: Any, values: list[Any]) -> Any:
        return default_collate(values) if self.stacks.get(key, True) and _stacks(values) else values


def _stacks(values: list[Any]) -> bool:
    """Whether ``default_collate`` makes one tensor of the values."""
    if all(isinstance(value, (bool, int, float)) for value in values):
        return True
    shapes = {tuple(value.shape) for value in values if hasattr(value, "shape")}
    are_arrays = all(isinstance(value, Tensor) or hasattr(value, "__array__") for value in values)
    if not are_arrays or len(shapes) != 1:
        return False
    return len({torch.as_tensor(value).dtype for value in values}) == 1
