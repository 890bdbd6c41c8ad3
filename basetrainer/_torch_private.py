"""Private names of torch: all that this package uses, each with what serves where it is missing.

No other module may name them. A name is fetched at import; where a version of torch lacks it, what
is here works without, perhaps slower, or refuses by name what it was asked for.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer.errors import BaseTrainerError

NAMES: dict[str, str] = {
    "torch._foreach_clamp_max": "a loop over the tensors",
    "torch._foreach_clamp_min_": "a loop over the tensors",
    "torch._foreach_div_": "a loop over the tensors",
    "torch._foreach_lerp_": "a loop over the tensors",
    "torch._foreach_mul_": "a loop over the tensors",
    "torch._foreach_sub_": "a loop over the tensors",
    "torch._utils.ExceptionWrapper": "the worker whose batch cannot be sent ends",
    "torch.autograd.profiler._is_profiler_enabled": "optimizer.step() as torch wraps it",
    "torch.cpu._is_avx512_bf16_supported": "amp: auto does without bf16",
    "torch.distributed.distributed_c10d._get_default_store": "ranks hear of a stop at the end",
    "torch.optim.optimizer._global_optimizer_post_hooks": "optimizer.step() as torch wraps it",
    "torch.optim.optimizer._global_optimizer_pre_hooks": "optimizer.step() as torch wraps it",
    "torch.utils._python_dispatch.TorchDispatchMode": "HostReads is refused",
    "torch.utils._pytree.tree_map_only": "a map over tuples, lists and dicts",
    "torch.utils.data._utils.signal_handling._remove_worker_pids": "torch ends its workers",
    # Attributes: of optimizers, loaders' iterators, state dicts, DistributedDataParallel.
    "._optimizer_step_post_hooks": "optimizer.step() as torch wraps it",
    "._optimizer_step_pre_hooks": "optimizer.step() as torch wraps it",
    "._pin_memory_thread": "torch ends its workers",
    "._pin_memory_thread_done_event": "torch ends its workers",
    "._shutdown": "taken for False",
    "._shutdown_workers": "torch ends its workers when the iterator is collected",
    "._worker_pids_set": "torch ends its workers",
    "._worker_result_queue": "torch ends its workers",
    "._workers": "torch ends its workers; messages know no exit codes",
    "._metadata": "state dicts tell no versions",
    ".require_forward_param_sync": "evaluation under DistributedDataParallel is refused",
}
"""Each name, and what is done without it; those with a dot in front are attributes of objects."""


def _fetch(name: str) -> Any:
    """Return what has a name; that of an attribute for one; None if this torch lacks it."""
    module, _, own = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), own, None) if module else own
    except ImportError:
        return None


_FOUND: dict[str, Any] = {name: _fetch(name) for name in NAMES}


def _attribute(one: Any, name: str, default: Any = None) -> Any:
    return default if _FOUND[f".{name}"] is None else getattr(one, name, default)


# -- many tensors at once ----------------------------------------------------------------------


def foreach(method: str, tensors: Sequence[Tensor], *others: Any) -> Any:
    """Call a method of each tensor, by one call to torch where it has one for them all.

    Args:
        method: Its name, such as ``mul_``.
        tensors: Whose method it is.
        others: Its arguments; a list has one for each tensor.

    Returns:
        What the method returns for each tensor; nothing to rely on if it changes them in place.
    """
    together = _FOUND[f"torch._foreach_{method}"]
    if together is not None:
        return together(tensors, *others)
    size = len(tensors)
    columns = [one if isinstance(one, (list, tuple)) else [one] * size for one in others]
    return [
        getattr(tensor, method)(*arguments)
        for tensor, *arguments in zip(tensors, *columns, strict=True)
    ]


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Return a tree with each tensor replaced by what a function makes of it."""
    tree_map_only = _FOUND["torch.utils._pytree.tree_map_only"]
    if tree_map_only is not None:
        return tree_map_only(Tensor, function, tree)
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        mapped = {key: map_tensors(function, value) for key, value in tree.items()}
        return mapped if type(tree) is dict else type(tree)(mapped)
    if isinstance(tree, (list, tuple)):
        parts = [map_tensors(function, one) for one in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


# -- optimizers --------------------------------------------------------------------------------


def is_profiled() -> bool:
    """Whether a profiler of torch's runs in this process, as far as is known."""
    name = "torch.autograd.profiler._is_profiler_enabled"
    return _FOUND[name] is None or torch.autograd.profiler._is_profiler_enabled


def has_step_hooks(optimizer: Any, own: int = 0) -> bool:
    """Whether somebody listens to steps of an optimizer, as far as is known.

    Args:
        optimizer: Of torch's kind.
        own: How many hooks after a step are the caller's own, and need no call.
    """
    after = _attribute(optimizer, "_optimizer_step_post_hooks")
    return bool(
        _attribute(optimizer, "_optimizer_step_pre_hooks", True)
        or after is None
        or len(after) > own
        or _FOUND["torch.optim.optimizer._global_optimizer_pre_hooks"] is None
        or _FOUND["torch.optim.optimizer._global_optimizer_pre_hooks"]
        or _FOUND["torch.optim.optimizer._global_optimizer_post_hooks"] is None
        or _FOUND["torch.optim.optimizer._global_optimizer_post_hooks"]
    )


def unwrapped_step(step: Any) -> Callable[[Any], Any] | None:
    """Return the ``step`` of an optimizer's class without torch's range for profilers.

    None if it is not known to be what torch's wrapper makes of one.
    """
    wrap = getattr(torch.optim.Optimizer, "profile_hook_step", None)
    if wrap is None:
        return None
    code = getattr(wrap(lambda: None), "__code__", object())
    is_torchs = getattr(step, "__code__", None) is code
    return getattr(step, "__wrapped__", None) if is_torchs else None


# -- loader workers ----------------------------------------------------------------------------


def is_error_of_worker(content: Any) -> bool:
    """Whether what a loader worker sends is an error, not a batch."""
    wrapper = _FOUND["torch._utils.ExceptionWrapper"]
    return wrapper is not None and isinstance(content, wrapper)


def error_of_worker(where: str) -> Any:
    """Return the error at hand as a loader worker sends it; it ends where there is no way to."""
    wrapper = _FOUND["torch._utils.ExceptionWrapper"]
    if wrapper is None:
        os._exit(1)
    return wrapper(where=where)


def worker_processes(iterator: Any) -> list[Any]:
    """Return the worker processes of a loader's iterator; none if it has none or only threads."""
    return [one for one in _attribute(iterator, "_workers", ()) if hasattr(one, "exitcode")]


def end_workers(iterator: Any) -> None:
    """End the workers of a loader's iterator at once; if it is not known how, as torch does.

    Torch waits up to 5 s for each that is busy.
    """
    if _attribute(iterator, "_shutdown", False):
        return
    if _can_kill_workers(iterator):
        # Whom we end is no failure that torch should report.
        if iterator._worker_pids_set:
            forget = _FOUND["torch.utils.data._utils.signal_handling._remove_worker_pids"]
            forget(id(iterator))
            iterator._worker_pids_set = False
        pin_thread = getattr(iterator, "_pin_memory_thread", None)
        if pin_thread is not None:  # it must not read from a worker that ends within a word
            iterator._pin_memory_thread_done_event.set()
            iterator._worker_result_queue.put((None, None))
            pin_thread.join(timeout=5)
        for worker in worker_processes(iterator):
            worker.kill()
    shut_down = _attribute(iterator, "_shutdown_workers")
    if shut_down is not None:
        shut_down()


def _can_kill_workers(iterator: Any) -> bool:
    """Whether all is there that must be set right around a kill."""
    needed = ["_worker_pids_set", "_workers", "_shutdown_workers", "_worker_result_queue"]
    if _FOUND["._pin_memory_thread"] is None or hasattr(iterator, "_pin_memory_thread"):
        needed += ["_pin_memory_thread", "_pin_memory_thread_done_event"]
    is_there = all(_attribute(iterator, name, iterator) is not iterator for name in needed)
    forget = _FOUND["torch.utils.data._utils.signal_handling._remove_worker_pids"]
    return is_there and forget is not None


# -- state dicts -------------------------------------------------------------------------------

METADATA = "_metadata"
"""The attribute in which torch's state dicts keep the versions of the layers."""


def metadata_of(state: Any) -> Any:
    """Return what a state dict says of its layers; None if it says nothing."""
    return _attribute(state, METADATA)


def set_metadata(state: Any, metadata: Any) -> None:
    """Let a state dict say something of its layers, as torch's do."""
    setattr(state, METADATA, metadata)


# -- several processes -------------------------------------------------------------------------


def default_store() -> Any:
    """Return the store that the processes met at; None if it cannot be had."""
    get = _FOUND["torch.distributed.distributed_c10d._get_default_store"]
    return None if get is None else get()


@contextmanager
def without_buffer_sync(model: nn.Module) -> Iterator[None]:
    """Let a DistributedDataParallel model run forward without its ranks waiting for each other.

    Raises:
        BaseTrainerError: If this version of torch has no such switch.
    """
    before = _attribute(model, "require_forward_param_sync")
    if before is None:
        raise BaseTrainerError(
            f"torch {torch.__version__} has no DistributedDataParallel.require_forward_param_sync, "
            f"so ranks would wait for each other in tests. Test in one process, or use a version "
            f"of torch that basetrainer was tested with."
        )
    model.require_forward_param_sync = False  # type: ignore[assignment]
    try:
        yield
    finally:
        model.require_forward_param_sync = before


_WAITS = ("/torch/distributed/", "/torch/nn/parallel/", "/basetrainer/distributed/")
BACKWARD = "_engine_run_backward"
"""The function of ``torch.autograd.graph`` in which DDP's reductions are waited for."""


def waits_for_ranks(frame: FrameType | None) -> bool:
    """Whether what a thread is in is a wait for other processes."""
    while frame is not None:
        file = frame.f_code.co_filename.replace(os.sep, "/")
        if frame.f_code.co_name == BACKWARD or any(one in file for one in _WAITS):
            return True
        if "/torch/" not in file:
            return False
        frame = frame.f_back
    return False


# -- the rest ----------------------------------------------------------------------------------


def has_avx512_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 by AVX-512, for a torch that lists no capabilities."""
    ask = _FOUND["torch.cpu._is_avx512_bf16_supported"]
    return ask is not None and bool(ask())


DispatchMode: Any = _FOUND["torch.utils._python_dispatch.TorchDispatchMode"] or object
"""The base of contexts that see every operation."""

OPTIMIZER_READ = "_get_value"
"""The function in which torch's optimizers read their step counts."""


def check_dispatch_mode(needed_by: str) -> None:
    """Refuse what needs to see every operation, if this version of torch does not show them.

    Raises:
        BaseTrainerError: If so.
    """
    if _FOUND["torch.utils._python_dispatch.TorchDispatchMode"] is None:
        raise BaseTrainerError(
            f"{needed_by} needs torch.utils._python_dispatch.TorchDispatchMode, which torch "
            f"{torch.__version__} lacks. Use a version of torch that basetrainer was tested with."
        )
