"""FirstBatches: no more than the first batches of a loader."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any


class FirstBatches:
    """The first ``count`` batches of a loader; other attributes are those of the loader.

    Args:
        loader: Any iterable.
        count: Batches at most.
    """

    def __init__(self, loader: Iterable[Any], count: int) -> None:
        self._loader = loader
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self._loader, self._count)

    def __len__(self) -> int:
        size = len(self._loader)  # type: ignore[arg-type] # an error like that of the loader
        return min(size, self._count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_loader"], name)
