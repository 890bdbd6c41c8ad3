"""Stepper: calls an optimizer as torch does, without the ranges that torch opens for profilers."""

from __future__ import annotations

import weakref
from typing import Any

from torch.optim import Optimizer

from basetrainer._torch_private import has_step_hooks, is_profiled, unwrapped_step


class Stepper:
    """Steps one optimizer and drops its gradients, at the least cost.

    torch wraps ``step`` and ``zero_grad`` of every optimizer into a range for profilers, and
    formats its name, whether or not anybody profiles. Measured with SGD over four small tensors,
    that is half of ``step`` and two thirds of ``zero_grad``: a sixth of a small training step. Here
    the ranges are left out while no profiler of torch's runs in this process, no hook is
    registered, and ``step`` and ``zero_grad`` are those that torch wrapped; else, or where this
    torch does not let us know, torch's own are called. Observers that torch has no flag for
    (``ExecutionTraceObserver`` alone, Kineto on demand) see no such range.

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
        self._unwrapped = unwrapped_step(self._step)

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
        if not is_plain or "zero_grad" in vars(optimizer) or is_profiled():
            optimizer.zero_grad()
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _needs_wrapper(self) -> bool:
        """Whether the wrapper does something; hooks may be added at any time."""
        optimizer = self.optimizer
        return (
            "step" in vars(optimizer)  # torch's schedulers replace it, to count
            or type(optimizer).step is not self._step
            or has_step_hooks(optimizer, own=self.hears)  # its own needs no call
            or is_profiled()
        )
