"""EpochIterator: one pass over a loader of ours, kept apart from training's random draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from basetrainer.data.workers import stop_workers

if TYPE_CHECKING:
    from basetrainer.data.epoch_loader import EpochLoader


class EpochIterator(Iterator[Any]):
    """One pass over an :class:`EpochLoader`.

    Args:
        loader: Whose pass it is.
        batches: Torch's iterator.
        fence: Around whatever runs in this process to make a batch.
        epoch: Of the pass.
        step: The batch that comes first.
    """

    def __init__(
        self,
        loader: EpochLoader,
        batches: Any,
        fence: AbstractContextManager[None],
        epoch: int,
        step: int,
    ) -> None:
        self._loader = loader
        self._batches = batches
        self._fence = fence
        self._place = (epoch, step)
        self._has_state = loader.has_state

    def __next__(self) -> Any:
        try:
            with self._fence:
                batch = next(self._batches)
        except StopIteration:
            raise
        except BaseException as error:
            self._loader.fail(error, self._batches)
            raise
        if self._has_state:
            epoch, step = self._place
            self._place = (epoch, step + 1)
            self._loader.keep_state(epoch, step + 1)
        return batch

    def __len__(self) -> int:
        return len(self._loader)

    def __del__(self) -> None:
        # A pass left early: torch would wait for workers that are busy.
        if not self._loader.persistent_workers and not sys.is_finalizing():
            stop_workers(self._batches)
