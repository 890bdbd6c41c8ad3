"""Updater: turns the losses of one optimizer into changes of its weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from basetrainer.distributed.context import DistContext
from basetrainer.distributed.replicas import ForwardWatch
from basetrainer.distributed.strategy import (
    is_sharded,
    is_wrapped,
    reduced_parameters,
    silenced,
)
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.gradients import average_loose, divide, widest
from basetrainer.engine.kept_statistics import KeptStatistics
from basetrainer.engine.stepper import Stepper
from basetrainer.errors import ConfigError, NonFiniteError

logger = logging.getLogger(__name__)


class Updater:
    """Backward passes and the step of one optimizer.

    With accumulation or several ranks the gradients are those of the one big batch: each loss,
    a mean over ``count`` things, is weighted by its count, and the sum of gradients is divided by
    the sum of counts over micro-batches and ranks. Otherwise losses and gradients are not touched.

    Args:
        optimizer: The optimizer to step.
        config: The engine's settings.
        context: This process's place in the run.
        model: The wrapped model; parameters of the optimizer that are not in it have their
            gradients summed over the ranks here.
        nominal: The count of a full micro-batch; weights are counts over this one, so that they
            are exactly 1 in the common case.
        is_one_of_several: Whether other optimizers train other parts of the model.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        config: EngineConfig,
        context: DistContext,
        model: nn.Module | None,
        nominal: float = 1.0,
        *,
        is_one_of_several: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self.num_skipped = 0
        self._context = context
        self._nominal = nominal
        self._clip = config.clip_grad_norm
        self._skips = config.max_skips if config.on_nonfinite == "skip" else 0
        self._skipped_in_row = 0
        self._statistics = KeptStatistics(model) if self._skips and model is not None else None
        self._weight: float | Tensor | None = None  # None: no window has begun
        self._scaler = torch.amp.GradScaler(context.device.type) if config.amp == "fp16" else None
        self._scale: float | None = None  # of the scaler, where it is known
        self._stepper = Stepper(optimizer)
        self._sharded = model if is_sharded(model) else None
        if self._sharded is not None and is_one_of_several:
            raise ConfigError("strategy: fsdp2 trains with one optimizer. Set strategy: ddp.")
        self._in_model: frozenset[int] | None = None  # None: no other rank takes part
        self._forward: ForwardWatch | None = None
        if model is not None and is_wrapped(model):
            # One of several optimizers: its backward passes go around the wrapper, which would
            # wait for the gradients of the others' parameters.
            self._in_model = frozenset() if is_one_of_several else reduced_parameters(model)
            if self._in_model and self._sharded is None:
                self._forward = ForwardWatch(model)
        self.is_exact = config.accumulate_steps > 1 or self._in_model is not None

    @property
    def is_window_open(self) -> bool:
        """Whether gradients wait for a step."""
        return self._weight is not None

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer was stepped since :meth:`took_step` was last asked."""
        return self._stepper.has_stepped

    def took_step(self) -> bool:
        """Return whether the optimizer changed the weights since this was last asked."""
        stepper = self._stepper
        has_stepped, stepper.has_stepped = stepper.has_stepped, False
        return has_stepped

    def backward(self, total: Tensor, count: float | Tensor, *, only_own: bool = False) -> None:
        """Add the gradients of ``total``, a mean over ``count`` things.

        Args:
            total: The scalar to minimise.
            count: Over how many things it was averaged; 0 leaves it out. A tensor is not read on
                the host, unless the model is sharded.
            only_own: Whether gradients go to this optimizer's parameters alone; for several
                optimizers, whose losses also reach each other's weights.
        """
        if self._weight is None:
            self._stepper.drop_gradients()
            self._weight = 0.0
        if isinstance(count, Tensor):
            if self._sharded is None and count.device == total.device:
                self._backward_on_device(total, count.detach().reshape(()), only_own)
                return
            count = float(count)
        if count == 0 and self._sharded is None:
            total = self._nothing()
        elif self.is_exact and count:
            weight = count / self._nominal
            self._weight += weight
            total = total if weight == 1.0 else total * weight
        if self._scaler is not None:
            total = self._scaler.scale(total)
        with silenced(self._sharded if count == 0 else None):
            total.backward(inputs=self._parameters() if only_own else None)

    def _backward_on_device(self, total: Tensor, count: Tensor, only_own: bool) -> None:
        """Do the same with a count that nobody knows yet: it may be 0."""
        if self.is_exact:
            weight = count.to(widest(count.device)) / self._nominal
            self._weight = self._weight + weight  # type: ignore[operator] # a window has begun
            total = total * weight.to(total.dtype)
        if self._scaler is not None:
            total = self._scaler.scale(total)
        with self._zeroed_unless(count > 0):
            total.backward(inputs=self._parameters() if only_own else None)

    def step(self, *, is_reduced: bool = True) -> bool:
        """Step the optimizer with the gradients of the window; return whether it did.

        Args:
            is_reduced: Whether the window's last backward pass averaged the gradients over the
                ranks. One that turned out to be the last did not; sharded gradients then wait for
                the next window.

        Raises:
            NonFiniteError: If ``max_skips`` updates in a row were not finite.
        """
        if not is_reduced and self._sharded is not None:
            return False
        weight, self._weight = self._weight, None
        if self._in_model is not None:
            # Before the scaler looks for infinities: all ranks must find the same.
            if self._forward is not None:
                is_reduced = self._forward.take() and is_reduced
            averaged = self._in_model if is_reduced else frozenset()
            average_loose(self._parameters(), averaged, self._context)
        if self._scaler is not None:
            if not self._gradients():
                return False  # no loss reached these parameters: nothing to unscale
            self._scaler.unscale_(self.optimizer)
        if self.is_exact and weight is not None:
            context = None if self._in_model is None else self._context
            divide(self._gradients(), weight, context)
        if (self._clip is not None or self._skips) and not self._clip_or_refuse():
            return False
        if self._scaler is not None:
            return self._scaled_step(self._scaler)
        self._stepper.step()
        return True

    def _scaled_step(self, scaler: torch.amp.GradScaler) -> bool:
        """Let the scaler step, and return whether it did.

        It reads one flag per update to decide, and calls ``optimizer.step()`` or not. A fused
        optimizer it calls in any case, with the flag on the device: that it was left out shows in
        the scale, which is read in the flag's place.
        """
        stepper = self._stepper
        is_fused = any(group.get("fused") for group in self.optimizer.param_groups)
        is_shown = stepper.hears and not is_fused
        before = None
        if not is_shown:
            before = scaler.get_scale() if self._scale is None else self._scale
        earlier, stepper.has_stepped = stepper.has_stepped, False
        scaler.step(self.optimizer)
        scaler.update()
        has_stepped = stepper.has_stepped
        if before is not None:
            self._scale = scaler.get_scale()
            has_stepped = self._scale >= before
        stepper.has_stepped = earlier or has_stepped
        return has_stepped

    def abandon_window(self) -> None:
        """Forget a window that an error cut short; the next backward pass begins a new one."""
        self._weight = None

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's state and the number of updates left out."""
        return {
            "scaler": self._scaler.state_dict() if self._scaler is not None else {},
            "num_skipped": self.num_skipped,
            "skipped_in_row": self._skipped_in_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
            self._scale = None
        self.num_skipped = state["num_skipped"]
        self._skipped_in_row = state["skipped_in_row"]
        if self._statistics is not None:  # the model's state was loaded before
            self._statistics.keep()

    def _nothing(self) -> Tensor:
        """Return a loss of 0 that every parameter takes part in, so that no rank waits for this.

        A mean over nothing is 0/0, and so are its gradients: it must not be back-propagated.
        """
        return torch.stack([(0.0 * parameter).sum() for parameter in self._parameters()]).sum()

    @contextmanager
    def _zeroed_unless(self, is_some: Tensor) -> Iterator[None]:
        """Make gradients 0 in the backward passes inside if ``is_some`` is false on its device.

        A mean over nothing is 0/0, and its gradients may be NaN; they must not be added to others,
        nor reach other ranks.
        """

        def kept(gradient: Tensor) -> Tensor:
            return gradient if gradient.is_sparse else torch.where(is_some, gradient, 0.0)

        handles = [one.register_hook(kept) for one in self._parameters() if one.requires_grad]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _clip_or_refuse(self) -> bool:
        """Clip the gradients; return False if they are not finite and may be left out."""
        parameters = [p for p in self._parameters() if p.grad is not None]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        # The one flag that on_nonfinite: skip reads per update. Gradients are the same on all
        # ranks by now, so all decide alike.
        if self._skips and not bool(norm.isfinite()):
            self.num_skipped += 1
            self._skipped_in_row += 1
            if self._statistics is not None:
                self._statistics.restore()
            logger.warning("update left out: its gradients are not finite (%s)", float(norm))
            # fp16 overflows now and then by design, until the scaler has found its scale.
            is_scaling = self._scaler is not None and self._scaler.get_scale() >= 1.0
            if self._skipped_in_row >= self._skips and not is_scaling:
                raise NonFiniteError(
                    f"{self._skipped_in_row} updates in a row were not finite (max_skips: "
                    f"{self._skips}). The weights no longer recover: lower lr or clip gradients."
                )
            if self._scaler is not None:
                self._scaler.update()
                self._scale = None
            return False
        self._skipped_in_row = 0
        if self._statistics is not None:
            self._statistics.keep()
        if self._clip is not None:
            clip_grads_with_norm_(parameters, self._clip, norm)
        return True

    def _parameters(self) -> list[nn.Parameter]:
        """Return what the optimizer changes, as its groups are now."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters() if p.grad is not None]
