"""Stepper: calls an optimizer as torch does, without the ranges that torch opens for profilers."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable
from typing import Any

from torch.autograd import profiler
from torch.optim import Optimizer

_MODULE = importlib.import_module("torch.optim.optimizer")  # torch.optim has no such attribute
_HOOKS = tuple(
    getattr(_MODULE, f"_global_optimizer_{when}_hooks", None) for when in ("pre", "post")
)
"""Hooks of all optimizers; None if torch keeps them elsewhere: then its wrapper stays."""


class Stepper:
    """Steps one optimizer and drops its gradients, at the least cost.

    torch wraps ``step`` and ``zero_grad`` of every optimizer into a range for profilers, and
    formats its name, whether or not anybody profiles: that is a sixth of a small step. Here
    the ranges are left out while no profiler of torch's runs in this process, no hook is
    registered, and ``step`` and ``zero_grad`` are those that torch wrapped. Observers that torch
    has no flag for (``ExecutionTraceObserver`` alone, Kineto on demand) see no such range.

    Args:
        optimizer: The optimizer to step.

    Attributes:
        has_stepped: Whether the optimizer was stepped, by whomever, since this was set to False.
        hears: Whether steps that others take are seen, too: those of a gradient scaler, or of a
            loop that calls ``optimizer.step()``.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.has_stepped = False
        self.hears = callable(getattr(optimizer, "register_step_post_hook", None))
        if self.hears:
            me = weakref.ref(self)  # the optimizer keeps its hooks: no cycle

            def note(*_: Any) -> None:
                stepper = me()
                if stepper is not None:
                    stepper.has_stepped = True

            handle = optimizer.register_step_post_hook(note)
            weakref.finalize(self, handle.remove).atexit = False
        self._step = getattr(type(optimizer), "step", None)
        self._unwrapped = _unwrapped(self._step)

    def step(self) -> None:
        """Change the weights, as ``optimizer.step()`` does."""
        unwrapped = self._unwrapped
        if unwrapped is None or self._needs_wrapper():
            self.optimizer.step()
        else:
            unwrapped(self.optimizer)
        self.has_stepped = True

    def drop_gradients(self) -> None:
        """Set the gradients to None, as ``optimizer.zero_grad()`` does."""
        optimizer = self.optimizer
        is_plain = getattr(type(optimizer), "zero_grad", None) is Optimizer.zero_grad
        if not is_plain or "zero_grad" in vars(optimizer) or profiler._is_profiler_enabled:
            optimizer.zero_grad()
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _needs_wrapper(self) -> bool:
        """Whether the wrapper does something; hooks may be added at any time."""
        optimizer = self.optimizer
        return bool(
            "step" in vars(optimizer)  # torch's schedulers replace it, to count
            or type(optimizer).step is not self._step
            or optimizer._optimizer_step_pre_hooks
            or len(optimizer._optimizer_step_post_hooks) > self.hears  # its own needs no call
            or _HOOKS[0]
            or _HOOKS[1]
            or profiler._is_profiler_enabled
        )


def _unwrapped(step: Any) -> Callable[[Optimizer], Any] | None:
    """Return what torch wrapped; None if ``step`` is not what torch's wrapper makes of one."""
    if None in _HOOKS or not hasattr(profiler, "_is_profiler_enabled"):
        return None
    wrapper = Optimizer.profile_hook_step(lambda: None)
    is_torchs = getattr(step, "__code__", None) is getattr(wrapper, "__code__", object())
    return getattr(step, "__wrapped__", None) if is_torchs else None
