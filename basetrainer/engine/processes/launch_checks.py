"""What launch() refuses, or warns of, before it starts a process."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


def check_machines(
    num_local: int,
    num_machines: int,
    machine_rank: int,
    dist_url: str | None,
) -> None:
    """Refuse what cannot start, before anything does."""
    if torch.accelerator.is_available() and num_local > torch.accelerator.device_count():
        raise ConfigError(
            f"gpu_id asks for {num_local} devices, but this machine has "
            f"{torch.accelerator.device_count()}."
        )
    if not 0 <= machine_rank < num_machines:
        raise ConfigError(f"machine_rank: {machine_rank} must be 0 to {num_machines - 1}.")
    if num_machines > 1 and dist_url in (None, "auto"):
        raise ConfigError(
            f"{num_machines} machines need an address to meet: "
            f"dist_url='tcp://HOST:PORT' of machine 0."
        )


def check_pickles(main_func: Callable[..., Any], args: Sequence[Any], start_method: str) -> None:
    """Refuse what new processes could not read."""
    name = getattr(main_func, "__name__", main_func)
    try:
        data = pickle.dumps((main_func, tuple(args)))
    except Exception as error:
        raise ConfigError(
            f"launch() cannot hand {name!r} and its "
            f"arguments to new processes: {error}. Define the function at the top level of a file "
            f"(not in a notebook, not as a lambda), and keep loaders and open files out of its "
            f"arguments."
        ) from error
    is_of_no_file = not hasattr(sys.modules["__main__"], "__file__")
    if start_method != "fork" and is_of_no_file and b"__main__" in data:
        raise ConfigError(
            f"launch() cannot hand {name!r} to new processes: it, or one of its arguments, is "
            f"defined in a notebook or an interactive session, which they cannot import. Write it "
            f"to a file and import it from there."
        )


def warn_of_lone_copies(distributed: bool) -> None:
    """Say so if something has started several processes that will not work together."""
    world_size = os.environ.get("WORLD_SIZE", "1")
    if distributed or not world_size.isdecimal() or int(world_size) < 2:
        return
    if os.environ.get("RANK", "0") == "0":
        logger.warning(
            "WORLD_SIZE is %s, but distributed is false: each of these processes trains alone, and "
            "all write as if they were the only one. Set distributed: true (--distributed).",
            world_size,
        )
