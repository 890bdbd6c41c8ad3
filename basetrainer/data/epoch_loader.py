"""EpochLoader: a DataLoader whose batches are a function of seed, epoch and batch number."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, IterableDataset

from basetrainer.data.batches import Batches, ForeignBatches, OrderedBatches
from basetrainer.data.epoch_iterator import EpochIterator
from basetrainer.data.order import EpochOrder, mix
from basetrainer.data.placed import BIT_EXACT, EPOCH_START, Passes, Placed, length, lengths
from basetrainer.data.rebinding import Bindings, bindings, rebound
from basetrainer.data.requests import AskingLoader
from basetrainer.data.rng_fence import RngFence
from basetrainer.data.seeding import Draws, draws_of, seed_generators
from basetrainer.data.workers import (
    WorkerInit,
    own_workers,
    owns_workers,
    stop_workers,
    worker_error,
)
from basetrainer.utils.posix import signals_held_back

logger = logging.getLogger(__name__)

_HANDED_ON = ("num_workers", "collate_fn", "pin_memory", "persistent_workers", "timeout")
"""Options that may be changed on a loader even if it was made without them."""

_KEPT_STATES = 16  # of an iterable dataset: who reads ahead asks for an earlier one


class EpochLoader(DataLoader[Any], Placed):
    """A DataLoader that knows its place, whose draws and those of training keep apart.

    Made by :func:`~basetrainer.data.loader.build_dataloader`.

    Args:
        dataset: Map-style or iterable; it is not wrapped.
        order: Which sample comes when; None leaves it to the data or to a sampler in ``options``.
        advances: See :class:`~basetrainer.data.placed.Passes`; only asked without an order.
        rank: Of this process.
        world_size: Number of processes.
        is_dealt: Whether each rank sees its own part of the data, so that figures must be summed.
        shards: Whether batches that a sampler makes go to the ranks in turn; see
            :class:`~basetrainer.data.batches.ForeignBatches`. Likewise.
        **options: Handed to ``DataLoader``.
    """

    def __init__(
        self,
        dataset: Any,
        order: EpochOrder | None = None,
        *,
        advances: bool = True,
        rank: int = 0,
        world_size: int = 1,
        is_dealt: bool = False,
        shards: bool = False,
        **options: Any,
    ) -> None:
        self.is_ours = options.get("generator") is None
        if self.is_ours:  # of its own: iter(DataLoader) otherwise draws from the global one
            options["generator"] = torch.Generator()
        self.is_dealt = is_dealt
        self._rank = rank
        self._init = WorkerInit(options.get("worker_init_fn"))
        if options.get("num_workers", 0) > 0:
            options["worker_init_fn"] = self._init
        is_batched = options.get("batch_size", 1) is not None
        if order is not None:
            options["sampler"] = order
            if is_batched:
                options |= {"batch_size": order.batch_size, "drop_last": order.drop_last}
        super().__init__(dataset, **options)
        self._data = dataset  # as given: torch wraps some
        self._options = {**dict.fromkeys(_HANDED_ON), **options}
        self._asking: AskingLoader | None = None
        self._waiting: Any = None  # the iterator whose workers live on
        if order is not None:
            self._batches: Batches = OrderedBatches(order, is_batched=is_batched)
        else:
            given = self.batch_sampler if self.batch_sampler is not None else self.sampler
            passes = Passes(advances=advances)
            self._batches = ForeignBatches(
                given, passes, rank, world_size, shards=shards, pads=advances
            )
        if not self.is_ours:
            self.seed = options["generator"].initial_seed()
        self._bindings: Bindings = {}
        self._said: set[str] = set()
        self._states: dict[tuple[int, int], Any] = {}
        self._size = 0  # of the dataset that the workers hold

    def __len__(self) -> int:
        return super().__len__() if isinstance(self._data, IterableDataset) else len(self._batches)

    @property
    def seed(self) -> int:
        """Of the order, and of what is drawn while batches are made."""
        return self._batches.passes.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._batches.passes.seed = seed

    @property
    def order(self) -> EpochOrder | None:
        """Which sample comes when; None where the data or a sampler of the user's decides."""
        return self._batches.order if isinstance(self._batches, OrderedBatches) else None

    def __iter__(self) -> EpochIterator:  # type: ignore[override]
        self._follow_size()
        in_process = self.num_workers == 0
        draws = draws_of(self.dataset, self.collate_fn)
        epoch, start = self._batches.begin(draws, in_process=in_process)
        if self.is_ours:  # what workers draw at their start: a function of the epoch, too
            cast("torch.Generator", self.generator).manual_seed(mix(self.seed, epoch, self._rank))
        # Without an order of ours a sampler, or the iterator of the dataset, may draw.
        may_draw = draws is not Draws.NOTHING or self.order is None
        fence = RngFence() if in_process and may_draw else nullcontext()
        try:
            with fence:
                batches = self._in_process(epoch) if in_process else self._by_workers()
        except Exception as error:
            self.fail(error, self._waiting)
            raise
        return EpochIterator(self, batches, fence, epoch, start)

    def _in_process(self, epoch: int) -> Any:
        if isinstance(self.dataset, IterableDataset):
            seed_generators(mix(self.seed, epoch, self._rank))
        if self.order is None or self.pin_memory:
            return iter(self._asking_loader())
        return self._made_here()

    def _asking_loader(self) -> AskingLoader:
        """Return torch's loader over our batches, with the options as they are now.

        This loader itself keeps the samplers that it was given, for who looks at them.
        """
        options = {name: getattr(self, name, value) for name, value in self._options.items()}
        is_collated = self.batch_sampler is not None
        return AskingLoader(self._batches, self._data, options, is_collated=is_collated)

    def _made_here(self) -> Iterator[Any]:
        """Return the batches of a map-style dataset as torch's iterator does in this process.

        Torch's enters a profiler range for each batch, which costs more than handing one out. As
        with torch's, the pass goes on with the next batch if one fails.
        """
        dataset, collate = self.dataset, self.collate_fn
        whole: Any = getattr(dataset, "__getitems__", None)
        is_batched = self.batch_sampler is not None

        def batch(indices: Any) -> Any:
            try:
                if not is_batched:  # the samples of the dataset are batches
                    return collate(dataset[indices])
                return collate(whole(indices) if whole else [dataset[index] for index in indices])
            except StopIteration as error:  # it would pass for the end of the epoch
                raise RuntimeError("a sample of the dataset raised StopIteration") from error

        return map(batch, self._batches)

    def _by_workers(self) -> Any:
        if self._waiting is not None and self._is_outdated():
            self.close()
        if self._asking is not None:  # torch hands out the iterator whose workers wait
            return iter(self._asking)
        self._bindings, self._size = bindings(self.dataset), length(self.dataset)
        self._init.starting()
        start_method = (self.multiprocessing_context or multiprocessing).get_start_method()
        asking = self._asking_loader()
        with signals_held_back(start_method):
            batches = iter(asking)
        own_workers(batches)
        if self.persistent_workers:
            self._asking, self._waiting = asking, batches
        return batches

    def _is_outdated(self) -> bool:
        """Whether the workers that wait hold another dataset, or wait for another process."""
        if not owns_workers(self._waiting):
            return True  # this process was forked since
        changed = ", ".join(rebound(self._bindings, bindings(self.dataset)))
        if not changed and length(self.dataset) != self._size:
            changed = "the number of samples"
        if changed:
            # Said once: a dataset with set_epoch changes in every epoch.
            level = logging.DEBUG if changed in self._said else logging.INFO
            self._said.add(changed)
            logger.log(level, "loader workers start again, since these changed: %s", changed)
        return bool(changed)

    def close(self) -> None:
        """End the workers that wait for the next pass; it starts new ones."""
        iterator, self._waiting, self._asking = self._waiting, None, None
        if iterator is not None:
            stop_workers(iterator)

    def __del__(self) -> None:
        if getattr(self, "_waiting", None) is not None and not sys.is_finalizing():
            self.close()

    def fail(self, error: BaseException, batches: Any) -> None:
        """End the workers of a pass that failed, so that nobody waits for them.

        Raises:
            LoaderError: If it failed because one of them died.
        """
        found = worker_error(error, batches)
        self.close()
        stop_workers(batches)
        if found is not None:
            raise found from error

    # -- the place -----------------------------------------------------------------------------

    def set_position(self, epoch: int, step: int = 0, state: Any = None) -> int:
        """Let the next pass be that of ``epoch`` from batch ``step`` on; see :class:`Placed`."""
        self._follow_size()
        start = step if self._batches.can_start_anywhere and self._is_in_order else 0
        if state and self.has_state:
            data: Any = self.dataset
            data.load_state_dict(state["dataset"])
            start = step
        self._batches.passes.set_epoch(epoch, start)
        return start

    def is_padding(self, epoch: int, number: int) -> bool:
        """Whether a batch only keeps this rank in step with the others, and counts for nothing."""
        return self._batches.is_padding(epoch, number)

    def _follow_size(self) -> None:
        """Let the order be that of all samples that there are now; between two passes."""
        order = self.order
        if order is not None and (size := length(self._data, -1)) not in (order.num_samples, -1):
            logger.info("the dataset has %d samples now, not %d", size, order.num_samples)
            order.resize(size)

    @property
    def has_state(self) -> bool:
        """Whether the data are a stream that can save its place, and do so in this process."""
        methods = ("state_dict", "load_state_dict")
        return (
            isinstance(self.dataset, IterableDataset)
            and self.num_workers == 0
            and all(callable(getattr(self.dataset, name, None)) for name in methods)
        )

    def position_state(self, epoch: int, step: int) -> dict[str, Any]:
        """Return what a place needs beside its two numbers: the state of an iterable dataset."""
        if step == 0 and self.has_state and (epoch, step) not in self._states:
            self.keep_state(epoch, step)  # between two passes, where nothing is read ahead
        state = self._states.get((epoch, step))
        return {} if state is None else {"dataset": state}

    def promise(self) -> tuple[str, str]:
        """Return how exactly a run goes on; see :class:`Placed`."""
        if not self._is_in_order:
            return EPOCH_START, "in_order=False or worker threads give batches as they come"
        if self._batches.can_start_anywhere or self.has_state:
            return BIT_EXACT, ""
        if not isinstance(self.dataset, IterableDataset):
            return EPOCH_START, "the loader follows a sampler that it cannot repeat"
        if hasattr(self.dataset, "state_dict"):
            return EPOCH_START, "an iterable dataset keeps its place with num_workers: 0 only"
        return EPOCH_START, "the dataset is iterable and has no state_dict and load_state_dict"

    def fingerprint(self) -> dict[str, int]:
        """Return that of the order, or the lengths that are known, and the seed."""
        if self.order is not None:
            return self.order.fingerprint()
        return {**lengths(self), "batch_size": self.batch_size or 0, "seed": self.seed}

    @property
    def _is_in_order(self) -> bool:
        """Whether batch k of a pass is what was asked for k-th."""
        return self.in_order and getattr(self, "worker_method", "multiprocessing") != "thread"

    def keep_state(self, epoch: int, step: int) -> None:
        """Keep the state that an iterable dataset has at a place, for who asks a little later."""
        data: Any = self.dataset
        self._states[epoch, step] = deepcopy(data.state_dict())
        while len(self._states) > _KEPT_STATES:
            del self._states[next(iter(self._states))]
