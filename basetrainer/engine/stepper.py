"""Stepper: calls an optimizer as torch does, without the ranges that torch opens for profilers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch._C._autograd import _profiler_enabled
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


class Stepper:
    """Steps one optimizer and drops its gradients, at the least cost that changes nothing.

    torch wraps ``step`` and ``zero_grad`` of every optimizer into a range for profilers, and
    formats its name, whether or not anybody profiles: that is a sixth of a small step. Here
    the wrapper is left out where it would do nothing: no profiler runs, no hook is registered, and
    ``step`` and ``zero_grad`` are those that torch wrapped.

    Args:
        optimizer: The optimizer to step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._unwrapped = _unwrapped_step(type(optimizer))
        self._drops_by_hand = _has_plain_zero_grad(optimizer)

    def step(self) -> None:
        """Change the weights, as ``optimizer.step()`` does."""
        unwrapped = self._unwrapped
        if unwrapped is None or self._needs_wrapper():
            self.optimizer.step()
        else:
            unwrapped(self.optimizer)

    def drop_gradients(self) -> None:
        """Set the gradients to None, as ``optimizer.zero_grad()`` does."""
        if not self._drops_by_hand:
            self.optimizer.zero_grad()
            return
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _needs_wrapper(self) -> bool:
        """Whether the wrapper does something; hooks may be added at any time."""
        optimizer = self.optimizer
        return bool(
            "step" in vars(optimizer)  # torch's schedulers replace it, to count
            or optimizer._optimizer_step_pre_hooks
            or optimizer._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
            or _profiler_enabled()
        )


def _unwrapped_step(kind: type[Optimizer]) -> Callable[[Optimizer], Any] | None:
    """Return what torch wrapped; None if ``step`` is not what torch's wrapper makes of one."""
    wrapper = Optimizer.profile_hook_step(lambda: None)
    step = getattr(kind, "step", None)
    is_torchs = getattr(step, "__code__", None) is getattr(wrapper, "__code__", object())
    return getattr(step, "__wrapped__", None) if is_torchs else None


def _has_plain_zero_grad(optimizer: Optimizer) -> bool:
    """Whether neither the optimizer's type nor itself overrides ``zero_grad``."""
    return type(optimizer).zero_grad is Optimizer.zero_grad and "zero_grad" not in vars(optimizer)
