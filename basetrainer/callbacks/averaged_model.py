"""AveragedModel: a copy of the model that follows its weights and can be read in training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer._logs import Logs
from basetrainer._torch_private import foreach
from basetrainer._wrappers import unwrap
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.strategy import is_sharded
from basetrainer.errors import ConfigError


class AveragedModel(Callback):
    """Moves :attr:`module` towards the model after each update, by an exponential average.

    ``average = decay * average + (1 - decay) * weights``, of parameters and floating-point
    buffers; other buffers are copied. :meth:`EngineTrainer.averaged_model
    <basetrainer.engine.trainer.EngineTrainer.averaged_model>` makes one.

    Args:
        model: The model, wrapped or not; it is copied as it is now.
        decay: From 0 to 1, or a function from the update, from 0, to one, such as BYOL's cosine.

    Attributes:
        module: The copy, in eval mode and without gradients. It shares no memory with the model.

    Raises:
        ConfigError: If ``decay`` is out of range, or the model is sharded.
    """

    shares_state = True

    def __init__(self, model: nn.Module, decay: float | Callable[[int], float] = 0.999) -> None:
        super().__init__()
        if is_sharded(model):
            raise ConfigError("averaged_model does not go with strategy: fsdp2. Set strategy: ddp.")
        if not callable(decay) and not 0.0 <= decay <= 1.0:
            raise ConfigError(f"averaged_model: decay={decay} must be from 0 to 1, such as 0.999.")
        self.decay = decay
        self.module = copy.deepcopy(unwrap(model)).eval().requires_grad_(False)
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])  # averages, weights
        self._copied: list[tuple[Tensor, Tensor]] = []

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Pair averages and weights, as they are now, for the epoch's updates."""
        if self.engine is None:
            return
        weights = unwrap(self.engine.model).state_dict()
        # Of tied weights the first name counts: they must be averaged once.
        unique = {value.data_ptr(): name for name, value in reversed(weights.items())}
        names = [name for name in reversed(unique.values()) if weights[name].numel()]
        averages = self.module.state_dict()
        floating = [name for name in names if weights[name].is_floating_point()]
        self._pairs = [averages[one] for one in floating], [weights[one] for one in floating]
        self._copied = [
            (averages[one], weights[one]) for one in names if one not in frozenset(floating)
        ]

    @torch.no_grad()
    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Take the weights in."""
        if self.engine is None:
            return
        decay = self.decay(update - 1) if callable(self.decay) else self.decay
        foreach("lerp_", *self._pairs, 1.0 - decay)
        for average, value in self._copied:
            average.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the average."""
        return {"average": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.module.load_state_dict(state["average"])
