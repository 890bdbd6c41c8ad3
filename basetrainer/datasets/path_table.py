"""File paths in one block of memory, read like a list."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """A sequence whose items are made when they are read; subclasses add ``__len__``."""

    def _item(self, place: int) -> T:
        """Return the item at a place from 0 to ``len - 1``."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return an item, or a list of them."""
        places = range(len(self))  # takes negative and refuses too large ones as a list does
        if isinstance(index, slice):
            return [self._item(place) for place in places[index]]
        return self._item(places[index])


class PathTable:
    """Paths below a common root, in two arrays.

    A list of strings would be copied page by page into every forked worker, since reading a
    string writes its reference count; arrays are shared.

    Args:
        root: Folder that relative paths start from.
        paths: The paths, relative to ``root`` or absolute.
    """

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        block, ends = bytearray(), array("q", [0])
        for path in paths:
            block += os.fsencode(path)  # names that are not valid text survive this way
            ends.append(len(block))
        self.root = root
        self._block = np.frombuffer(bytes(block), dtype=np.uint8)
        self._ends = np.array(ends, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of paths."""
        return len(self._ends) - 1

    def path(self, place: int) -> str:
        """Return the path at a place from 0 to ``len - 1``."""
        start, end = self._ends[place], self._ends[place + 1]
        return str(Path(self.root, os.fsdecode(self._block[start:end].tobytes())))
