"""num_workers: auto. How many loader workers are worth having, by a rule and not by a trial."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import IterableDataset, TensorDataset

from basetrainer.data.seeding import parts_of
from basetrainer.distributed.context import DistContext
from basetrainer.utils.posix import num_cores

MOST = 8
"""Workers beyond which images are seldom made faster, while each takes its memory."""

_CORES_OF_A_WORKER = 4  # while the step computes on the same cores


def auto_workers(dataset: Any, context: DistContext | None = None) -> tuple[int, str]:
    """Return how many workers to use, and why.

    It follows from the machine and the kind of data alone. Batches of map-style datasets do not
    depend on it.

    - Data in memory (``TensorDataset``, and torch's wrappers around such): none, since handing a
      batch over costs more than making it. Iterable datasets: none, since each worker would be a
      stream of its own.
    - A step on an accelerator: every core of this process but one, at most :data:`MOST`.
    - A step on the CPU wants the cores itself: the cores that torch's threads leave, or a fourth of
      all if that is more; so none below four cores.

    Args:
        dataset: What is loaded.
        context: Where the process is; by default the running one.
    """
    if isinstance(dataset, IterableDataset):
        return 0, "each worker would be a stream of its own"
    if _is_in_memory(dataset):
        return 0, "the data are in memory"
    context = DistContext.current() if context is None else context
    cores = max(num_cores() // context.local_world_size, 1)
    has = f"{cores} core{'s' if cores > 1 else ''} for this process"
    if context.device.type != "cpu":
        return min(cores - 1, MOST), f"{has}, one of them for the step"
    spare = max(cores - torch.get_num_threads(), cores // _CORES_OF_A_WORKER)
    return min(spare, MOST), f"{has}, which the step computes on too"


def _is_in_memory(dataset: Any) -> bool:
    parts = parts_of(dataset)
    return all(map(_is_in_memory, parts)) if parts else type(dataset) is TensorDataset
