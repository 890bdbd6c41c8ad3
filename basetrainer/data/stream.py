"""Streams: epochs cut out of passes over the data, and samples shared out to the ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import IterableDataset

from basetrainer.data.placed import Placed, length
from basetrainer.data.resume import (
    close_workers,
    fingerprint,
    position_state,
    resume_promise,
    set_position,
)
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError


class EpochStream(Placed):
    """Epochs of ``num_steps`` batches out of any data: one goes on where the last one ended.

    Its place is three integers: the pass over the data, the batch in it, the step in the epoch.

    Args:
        loader: Any iterable of batches; it is started again when it ends.
        num_steps: Batches of one epoch.
    """

    def __init__(self, loader: Iterable[Any], num_steps: int) -> None:
        self._loader = loader
        self._num_steps = num_steps
        self._passes: list[tuple[int, int]]  # batches of the run before each pass; its number
        self._start: int  # the step at which the next epoch begins
        self._batches: Iterator[Any]
        self.set_position(0)

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, 0
        del self._passes[:-1]  # nobody asks for the places of epochs that are over
        return itertools.islice(self._batches, self._num_steps - start)

    def __len__(self) -> int:
        return self._num_steps

    def _endless(self, given: int) -> Iterator[Any]:
        """Yield pass after pass, the first as it was placed, ``given`` batches into the run."""
        begin, number = self._passes[-1]
        while True:
            for batch in self._loader:
                given += 1
                yield batch
            if given == begin:
                raise ConfigError(
                    f"steps_per_epoch asks for more batches, but pass {number} over the training "
                    f"data had none. A generator runs once: give a DataLoader or another iterable."
                )
            begin, number = given, number + 1
            self._passes.append((begin, number))
            set_position(self._loader, number, 0)

    def set_position(self, epoch: int, step: int = 0, state: Any = None) -> int:
        """Let the next epoch be ``epoch`` from ``step`` on; see :class:`Placed`.

        Without a state the place is counted out, which needs a loader that has a length.
        """
        given = epoch * self._num_steps + step
        size = length(self._loader)
        number, batch = divmod(given, size) if size else (0, 0)
        if state:
            number, batch = state["pass"], state["batch"]
        start = set_position(self._loader, number, batch, (state or {}).get("data"))
        if start != batch:  # the data start anew, so the epoch does
            given -= step
            step = 0
        self._passes = [(given - start, number)]
        self._start = step
        self._batches = self._endless(given)
        return step

    def position_state(self, epoch: int, step: int) -> dict[str, Any]:
        """Return the pass over the data, the batch in it, and what the loader needs beside."""
        given = epoch * self._num_steps + step
        begin, number = [one for one in self._passes if one[0] <= given][-1]
        batch = given - begin
        data = position_state(self._loader, number, batch)
        if batch and batch == length(self._loader) and not data:
            number, batch = number + 1, 0
        return {"pass": number, "batch": batch, "data": data}

    def is_padding(self, epoch: int, step: int) -> bool:
        """Whether a batch only keeps this rank in step with the others, and counts for nothing."""
        given = epoch * self._num_steps + step
        begin, number = [one for one in self._passes if one[0] <= given][-1]
        is_padding = getattr(self._loader, "is_padding", None)
        return is_padding is not None and is_padding(number, given - begin)

    def promise(self) -> tuple[str, str]:
        """Return the promise of the loader."""
        return resume_promise(self._loader)

    def close(self) -> None:
        """End the workers of the loader."""
        close_workers(self._loader)

    def fingerprint(self) -> dict[str, int]:
        """Return that of the loader, and the length of an epoch."""
        return {**fingerprint(self._loader), "steps_per_epoch": self._num_steps}


class ShardedStream(IterableDataset[Any]):
    """An iterable dataset of which each rank takes its samples in turn.

    Every rank goes through the whole stream and keeps sample ``k * world_size + rank``, so the
    stream must be the same on all ranks: what it draws from torch's, numpy's and random's
    generators is. Several loader workers must share it out by themselves, as in one process.

    Args:
        dataset: The stream.
        drop_last: Whether to leave out the last samples if there is not one for each rank, so that
            all ranks have as many: True for training, False for tests.
        context: By default this process's place in the run.

    Attributes:
        is_sharded: True.
    """

    is_sharded = True

    def __init__(
        self, dataset: Iterable[Any], *, drop_last: bool = True, context: DistContext | None = None
    ) -> None:
        found = DistContext.current() if context is None else context
        self.dataset = dataset
        self.drop_last = drop_last
        self._rank, self._world_size = found.rank, found.world_size

    def __iter__(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        while found := list(itertools.islice(samples, self._world_size)):
            if len(found) < self._world_size and self.drop_last:
                return
            if len(found) > self._rank:
                yield found[self._rank]

    def __len__(self) -> int:
        rest = 0 if self.drop_last else self._world_size - 1 - self._rank
        return (len(self.dataset) + rest) // self._world_size  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        # state_dict, load_state_dict, set_epoch and the like, where the stream has them.
        if name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)
