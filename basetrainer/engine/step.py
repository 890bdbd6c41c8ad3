"""Step: what happens with one batch, from the device to the changed weights."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from basetrainer.data.mover import Mover
from basetrainer.distributed.strategy import no_sync
from basetrainer.engine.losses import check_step, has_losses, total_loss
from basetrainer.engine.nonfinite import NonFiniteGuard
from basetrainer.engine.updating import Updating
from basetrainer.errors import UsageError
from basetrainer.utils.torch_tools import batch_size

_NOTHING = nullcontext()


class Step(Updating):
    """One training step, in parts that a subclass may replace; knows no epoch and no loader.

    Args:
        cfg: See :class:`~basetrainer.engine.engine.Engine`.
    """

    def __init__(self, cfg: Any = None) -> None:
        super().__init__(cfg)
        self.epoch = 0
        self.criterion: Any = None
        self.device = self.context.device
        self.inputs: Any = None  # the running batch
        self._fillers: Callable[[int, int], bool] | None = None
        self._is_stepping = False  # whether train_step is running
        self._is_given = False  # whether the running batch is counted by who handed it out
        self._counted: Any = None  # the losses that _step_count is of
        self._step_count: float | Tensor = 0.0
        watches = self.config.on_nonfinite == "raise"
        self.guard = NonFiniteGuard(self.context) if watches else None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.getattr_static(cls, "train_step")
        if inspect.isfunction(own) and not hasattr(own, "_is_whole_step"):
            cls.train_step = _whole_step(own, has_context=False)  # type: ignore[method-assign]

    def train_step(self, inputs: Any) -> tuple[Any, Any]:
        """Learn from one batch: forward, backward and, at a window's end, the optimizer's step.

        Override it for several optimizers: compute a loss, call :meth:`update` with it and its
        optimizer, compute the next one. Mixed precision, accumulation and clipping go along: an
        override runs in :meth:`forward_context`, the backward passes of :meth:`update` outside of
        its autocast.

        Args:
            inputs: A batch, on the device.

        Returns:
            ``(outputs, losses)`` for the callbacks.
        """
        with self.forward_context():
            returned = self.run_step(inputs)
        if self.position.step == 0:
            check_step(returned)
        outputs, losses = returned
        self._step_count = self.loss_count(inputs, outputs, losses)
        self._counted = losses
        self.update(losses, self._step_count)
        return outputs, losses

    def run_step(self, inputs: Any) -> tuple[Any, Any]:
        """Compute outputs and losses of one batch, in training and in evaluation.

        Args:
            inputs: A batch, on the device; here ``(data, targets)``.

        Returns:
            ``(outputs, losses)``. Losses may be a scalar tensor, or a dict, list or tuple of
            them; they are summed for the backward pass and given to the callbacks as they are.
        """
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise UsageError(
                f"run_step unpacks data, targets = inputs, but the loader yields a "
                f"{type(inputs).__name__}. Override run_step(self, inputs) for such batches."
            )
        data, targets = inputs
        outputs = self.model(data)
        return outputs, self.criterion(outputs, targets)

    def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> float | Tensor:
        """Over how many things the losses of this batch were averaged.

        By default the samples of the batch. Override it where that is not so, for example for a
        loss over the pixels that are not masked: return their number. A scalar tensor stays on its
        device (but with ``strategy: fsdp2``). Accumulation, several ranks and the recorders weigh
        by it; losses averaged over 0 things, which are NaN, are left out.
        """
        return batch_size(inputs)

    def count_of(self, inputs: Any, outputs: Any, losses: Any) -> float | Tensor:
        """Return what :meth:`loss_count` says of a batch, asked once for each training step."""
        if losses is self._counted and losses is not None:
            return self._step_count
        if not has_losses(losses):
            return batch_size(inputs)
        return self.loss_count(inputs, outputs, losses)

    def update(
        self,
        losses: Any,
        count: float | Tensor | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Minimise the sum of ``losses``: backward and, at a window's end, the optimizer's step.

        Args:
            losses: As ``run_step`` returns them.
            count: Over how many things they were averaged; see :meth:`loss_count`. By default the
                samples of the batch.
            optimizer: One of several; gradients then go to its parameters alone. By default
                the only one.

        Raises:
            UsageError: If there are several optimizers and none is named.
        """
        if count is None:
            count = batch_size(self.inputs)
        if self._fillers is not None and self.fills_in:
            count = 0.0
        if self.guard is not None:
            self.guard.watch(losses, count, self.epoch, self.position.step)
        updater = self._updater(self.optimizer if optimizer is None else optimizer)
        total, only_own = total_loss(losses), optimizer is not None
        if self.config.amp is None or not torch.is_autocast_enabled(self.device.type):
            updater.backward(total, count, only_own=only_own)
        else:
            with torch.autocast(self.device.type, enabled=False):
                updater.backward(total, count, only_own=only_own)
        self._is_trained = True
        if self._window_ends:
            if not updater.step():
                self._is_left_out = True
            if self.config.amp is not None:
                torch.clear_autocast_cache()  # weights that it holds in half have changed
        # Several optimizers are counted together: when train_step, or the batch, is done.
        if not self._is_stepping and not self._has_several:
            self._note_step()

    @property
    def is_counting(self) -> bool:
        """Whether ``position.step`` is the number of the batch that is being trained on."""
        return self._is_given

    @property
    def fills_in(self) -> bool:
        """Whether the running batch counts for nothing, and only keeps this rank in step.

        That is so where the last global batch has fewer samples than there are ranks: each of the
        other ranks shows a sample that is another one's.
        """
        return self._fillers is not None and self._fillers(self.epoch, self.position.step)

    def forward_context(self) -> AbstractContextManager[Any]:
        """What a training forward pass runs in: its precision, and whether ranks synchronise."""
        # Several optimizers reduce their own gradients when they step.
        if self.context.world_size == 1 or (self._window_ends and not self._has_several):
            return self.precision()
        return self._unsynchronised()

    def precision(self) -> AbstractContextManager[Any]:
        """The autocast context that ``amp`` asks for, or nothing."""
        if self.config.amp is None:
            return _NOTHING
        dtype = torch.bfloat16 if self.config.amp == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    def without_gradients(self) -> AbstractContextManager[Any]:
        """What a test step and its hook run in: ``torch.inference_mode``, unless that is off.

        A hook that needs gradients makes its own:
        ``with torch.inference_mode(False), torch.enable_grad(): x = inputs[0].clone()``.
        """
        return torch.inference_mode() if self.config.inference_mode else torch.no_grad()

    def to_device(self, inputs: Any) -> Any:
        """Move a batch to the device; tensors in lists, tuples and dicts too."""
        if self._stays_here:
            return inputs
        return self._mover(inputs)

    @property
    def device(self) -> torch.device:
        """Where batches are moved to; may be set to a device or its name."""
        return self._device

    @device.setter
    def device(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._mover = Mover(self._device, channels_last=self.config.channels_last)
        self._stays_here = self._device.type == "cpu" and not self.config.channels_last

    def check_finite(self) -> None:
        """Read the losses held since the last log point; called before anything is saved.

        Of several ranks all must call it: if one has seen a bad loss, all raise the same.

        Raises:
            NonFiniteError: If one is NaN or infinite, unless ``on_nonfinite`` says otherwise.
        """
        if self.guard is not None:
            self.guard.check()

    def _note_step(self) -> None:
        """Count the update of a step that is done."""
        if not self._is_given:
            self._train_elsewhere()
        self._note_rates()
        self._note_update()

    def _train_elsewhere(self) -> None:
        """Hear of a step whose batch did not come from the epoch's dataset."""

    def _abandon_step(self) -> None:
        """Forget what an earlier run left half done."""
        self._abandon_updates()
        self._is_stepping, self._is_given, self._counted = False, False, None
        if self.guard is not None:
            self.guard = NonFiniteGuard(self.context)

    @contextmanager
    def _unsynchronised(self) -> Iterator[None]:
        with no_sync(self.model), self.precision():
            yield


def _whole_step(train_step: Callable[..., Any], *, has_context: bool) -> Callable[..., Any]:
    """Let a ``train_step``, and an override of it, count its update when it is done.

    Args:
        train_step: The method.
        has_context: Whether it enters the context of its forward pass itself.
    """

    @functools.wraps(train_step)
    def whole(self: Step, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self._is_stepping:  # called by an override
            return train_step(self, inputs, *args, **kwargs)
        self._is_stepping, self.inputs = True, inputs
        try:
            if has_context:
                returned = train_step(self, inputs, *args, **kwargs)
            else:
                with self.forward_context():
                    returned = train_step(self, inputs, *args, **kwargs)
        finally:
            self._is_stepping = False
        self._note_step()
        return returned

    whole._is_whole_step = True  # type: ignore[attr-defined]
    return whole


Step.train_step = _whole_step(Step.train_step, has_context=True)  # type: ignore[method-assign]
