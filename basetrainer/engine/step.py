"""Step: what happens with one batch, from the device to the changed weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from basetrainer.data.mover import Mover
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import no_sync
from basetrainer.engine.base import Base
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.losses import check_step, total_loss
from basetrainer.engine.nonfinite import NonFiniteGuard
from basetrainer.engine.position import Position
from basetrainer.engine.precision import effective
from basetrainer.engine.updater import Updater
from basetrainer.errors import UsageError
from basetrainer.utils.torch_tools import batch_size

_NOTHING = nullcontext()


class Step(Base):
    """One training step, in parts that a subclass may replace; knows no epoch and no loader.

    Args:
        cfg: See :class:`~basetrainer.engine.engine.Engine`.
    """

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.config = EngineConfig.from_cfg(cfg)
        self.context = DistContext.current(self.config.gpu_id)
        self.config = effective(self.config, self.context.device)
        self.position = Position()
        self.epoch = 0
        self.model: Any = None  # an nn.Module; Any, so that trainer.model.module type-checks
        self.criterion: Any = None
        self.optimizer: Any = None  # an Optimizer, or a dict, list or tuple of them
        self.device = self.context.device
        self.inputs: Any = None  # the running batch
        self._window_ends = True  # whether an optimizer step follows the running batch
        self._nominal_count = 1.0
        self._fillers: Callable[[int, int], bool] | None = None
        self._counted = (-1, 0)  # the step and the losses that _step_count is of
        self._step_count: float | Tensor = 0.0
        self._updaters: dict[int, Updater] = {}
        watches = self.config.on_nonfinite == "raise"
        self.guard = NonFiniteGuard(self.context) if watches else None

    def train_step(self, inputs: Any) -> tuple[Any, Any]:
        """Learn from one batch: forward, backward and, at a window's end, the optimizer's step.

        Override it for several optimizers: compute a loss, call :meth:`update` with it and its
        optimizer, compute the next one. Mixed precision, accumulation and clipping go along.

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
        # These losses live until the last hook of the step, so that their id is theirs alone.
        self._counted = self.position.step, id(losses)
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
        loss over the pixels that are not masked: return their number (a scalar tensor is read on
        the host). Accumulation, several ranks and the recorders weigh by it; losses averaged over
        0 things, which are NaN, are left out.
        """
        return batch_size(inputs)

    def count_of(self, inputs: Any, outputs: Any, losses: Any) -> float | Tensor:
        """Return what :meth:`loss_count` says of a batch, asked once for each training step."""
        if self._counted == (self.position.step, id(losses)):
            return self._step_count
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
        count = float(batch_size(self.inputs) if count is None else count)
        if self._fillers is not None and self.fills_in:
            count = 0.0
        if self.guard is not None:
            self.guard.watch(losses, count, self.epoch, self.position.step)
        updater = self._updater(self.optimizer if optimizer is None else optimizer)
        updater.backward(total_loss(losses), count, only_own=optimizer is not None)
        if self._window_ends:
            updater.step()

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

    @property
    def accumulate_steps(self) -> int:
        """Micro-batches per optimizer step, as configured."""
        return self.config.accumulate_steps

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizer, or all of them."""
        if self.optimizer is None:
            return []
        if isinstance(self.optimizer, dict):
            return list(self.optimizer.values())
        return (
            list(self.optimizer) if isinstance(self.optimizer, (list, tuple)) else [self.optimizer]
        )

    @property
    def lr(self) -> float:
        """The learning rate of the first parameter group of the (first) optimizer."""
        optimizer = self.optimizer
        if not hasattr(optimizer, "param_groups"):
            optimizer = next(iter(self.optimizers), None)
        return float(optimizer.param_groups[0]["lr"]) if optimizer is not None else 0.0

    def check_finite(self) -> None:
        """Read the losses held since the last log point; called before anything is saved.

        Of several ranks all must call it: if one has seen a bad loss, all raise the same.

        Raises:
            NonFiniteError: If one is NaN or infinite, unless ``on_nonfinite`` says otherwise.
        """
        if self.guard is not None:
            self.guard.check()

    def updater_states(self) -> list[dict[str, Any]]:
        """Return the state of what steps each optimizer: its gradient scaler, updates left out."""
        return [self._updater(optimizer).state_dict() for optimizer in self.optimizers]

    def load_updater_states(self, states: list[dict[str, Any]]) -> None:
        """Take back what :meth:`updater_states` returned."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            self._updater(optimizer).load_state_dict(state)

    @property
    def _has_several(self) -> bool:
        """Whether optimizers come in a structure; who synchronises gradients hangs on it."""
        return isinstance(self.optimizer, (dict, list, tuple))

    def _abandon_step(self) -> None:
        """Forget what an earlier run left half done."""
        for updater in self._updaters.values():
            updater.abandon_window()
        self._window_ends = True
        if self.guard is not None:
            self.guard = NonFiniteGuard(self.context)

    def _updater(self, optimizer: Optimizer) -> Updater:
        """Return the optimizer's updater, made at its first use."""
        updater = self._updaters.get(id(optimizer))
        if updater is None:
            if optimizer is self.optimizer and self._has_several:
                raise UsageError(
                    f"There are several optimizers (a {type(optimizer).__name__}). Override "
                    f"train_step(self, inputs), and call self.update(loss, optimizer=...) for each."
                )
            updater = Updater(
                optimizer,
                self.config,
                self.context,
                self.model,
                self._nominal_count,
                is_one_of_several=self._has_several,
            )
            self._updaters[id(optimizer)] = updater
        return updater

    @contextmanager
    def _unsynchronised(self) -> Iterator[None]:
        with no_sync(self.model), self.precision():
            yield
