"""The public communication functions: one line each over ``DistContext.current()``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from basetrainer.distributed.context import DistContext, has_group


def get_device(device_ids: Sequence[int] | None = None) -> torch.device:
    """Return this process's device, out of ``device_ids`` where there are accelerators."""
    return DistContext.current(device_ids).device


def get_world_size() -> int:
    """Return the number of processes of the run; 1 without a process group."""
    return dist.get_world_size() if has_group() else 1


def get_rank() -> int:
    """Return this process's number among all of the run; 0 without a process group."""
    return dist.get_rank() if has_group() else 0


def get_local_rank() -> int:
    """Return this process's number among those of this machine."""
    return DistContext.current().local_rank


def get_local_size() -> int:
    """Return the number of processes on this machine."""
    return DistContext.current().local_world_size


def is_main_process() -> bool:
    """Whether this process may write files: exactly one does."""
    return get_rank() == 0


def synchronize() -> None:
    """Wait until every process is here."""
    DistContext.current().barrier()


def all_gather(data: Any, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Return the objects of all ranks, by rank; they must pickle."""
    if get_world_size() == 1:
        return [data]
    values: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(values, data, group=group)
    return values


def gather(data: Any, dst: int = 0, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Return the objects of all ranks on rank ``dst``, an empty list on the others."""
    if get_world_size() == 1:
        return [data]
    values: list[Any] | None = [None] * dist.get_world_size(group) if get_rank() == dst else None
    dist.gather_object(data, values, dst=dst, group=group)
    return values or []


def shared_random_seed() -> int:
    """Return a random number that is the same on all ranks."""
    seed: int = DistContext.current().broadcast(secrets.randbelow(2**31))
    return seed


def reduce_dict(input_dict: dict[str, Tensor], average: bool = True) -> dict[str, Tensor]:
    """Return the dict with each tensor averaged (or summed) over the ranks.

    Args:
        input_dict: Tensors of one shape, dtype and device; the same keys on all ranks.
        average: Whether to divide the sums by the number of ranks.
    """
    context = DistContext.current()
    if context.world_size == 1 or not input_dict:
        return input_dict
    names = sorted(input_dict)  # ranks may have filled their dicts in another order
    values = context.sum(torch.stack([input_dict[name].detach() for name in names]))
    return dict(zip(names, values / context.world_size if average else values, strict=True))
