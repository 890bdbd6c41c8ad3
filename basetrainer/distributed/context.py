"""Who this process is among those of the run, and what it can ask of the others."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")


_LOCAL_RANKS = (
    *("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"),
    *("PMIX_LOCAL_RANK", "SLURM_LOCALID", "FLUX_TASK_LOCAL_ID"),
)
"""Where torchrun, Open MPI, MVAPICH, Intel MPI, PMIx, Slurm and Flux say it."""


@functools.cache
def _local_rank() -> int:
    """Return which process of this machine this is."""
    for name in _LOCAL_RANKS:
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    if not torch.accelerator.is_available() or dist.get_world_size() == 1:
        return 0
    local_rank = dist.get_rank() % torch.accelerator.device_count()
    logger.warning(
        "LOCAL_RANK is not set, so rank %d takes device %d of its machine. Set LOCAL_RANK in each "
        "process if that is not its place.",
        dist.get_rank(),
        local_rank,
    )
    return local_rank


def has_group() -> bool:
    """Whether this process belongs to a process group."""
    return dist.is_available() and dist.is_initialized()


def pick_device(gpu_ids: Sequence[int] | None = None, local_rank: int = 0) -> torch.device:
    """Return the device of one process of this machine.

    Args:
        gpu_ids: The accelerators to use, one per process; None means all of them. On a machine
            without accelerators it is ignored: the device is the CPU.
        local_rank: Which process of this machine asks.

    Raises:
        ConfigError: If an accelerator of that number, or one for this process, does not exist.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    count = torch.accelerator.device_count()
    ids = list(range(count)) if gpu_ids is None else list(gpu_ids)
    absent = [one for one in ids if not 0 <= one < count]
    if absent:
        raise ConfigError(
            f"gpu_id: {ids} asks for {accelerator.type} device {absent[0]}, but this machine has "
            f"{count}, numbered from 0 to {count - 1}."
        )
    if local_rank >= len(ids):
        raise ConfigError(
            f"gpu_id: {ids} names {len(ids)} {accelerator.type} device(s), but process "
            f"{local_rank} of this machine needs one too. Name one for each process."
        )
    return torch.device(accelerator.type, ids[local_rank])


@dataclass(frozen=True, slots=True)
class DistContext:
    """Who this process is among those of the run.

    The collective methods are the identity in a run of one process, so callers never branch;
    in a run of several, every rank must call them, in the same order.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def current(cls, gpu_ids: Sequence[int] | None = None) -> DistContext:
        """Read this process's place from torch's process group and torchrun's variables.

        Args:
            gpu_ids: As in :func:`pick_device`.

        Raises:
            ConfigError: As in :func:`pick_device`.
        """
        if not has_group():
            return cls(device=pick_device(gpu_ids))
        local_rank = _local_rank()
        return cls(
            rank=dist.get_rank(),
            local_rank=local_rank,
            world_size=dist.get_world_size(),
            local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            device=pick_device(gpu_ids, local_rank),
        )

    @property
    def is_main(self) -> bool:
        """Whether this process may write files: exactly one does."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.world_size > 1:
            dist.barrier()

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of ``tensor`` over the ranks; same shape, dtype and device."""
        if self.world_size == 1:
            return tensor
        on_device = f"{tensor.device.type}:" in str(dist.get_backend_config())
        total = tensor.clone() if on_device else tensor.to(self.device)
        dist.all_reduce(total)
        return total.to(tensor.device)

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of ``tensor`` over the ranks."""
        return self.sum(tensor) / self.world_size

    def gather(self, value: Any) -> list[Any]:
        """Return the objects of all ranks, by rank, on every rank; they must pickle."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's object on every rank; it must pickle."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def on_main(self, work: Callable[[], T]) -> T:
        """Let rank 0 do ``work``, and return its result, or raise its error, on every rank."""
        if self.world_size == 1:
            return work()
        result: Any = None
        error: Exception | None = None
        if self.is_main:
            try:
                result = work()
            except Exception as caught:
                error = caught
        error, result = self.broadcast((error, result))
        if error is not None:
            raise error
        value: T = result
        return value
