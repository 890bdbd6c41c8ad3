"""EMA: an exponential moving average of the weights, which is tested and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from basetrainer._logs import Logs
from basetrainer._torch_private import foreach
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.strategy import is_sharded, unwrap
from basetrainer.errors import ConfigError


class EMA(Callback):
    """Averages weights and floating-point buffers after each update.

    ``average = d * average + (1 - d) * weights`` with ``d = min(decay, (1 + n) / (10 + n))`` after
    n updates, so that the first weights do not linger (the rule of TensorFlow's
    ExponentialMovingAverage with ``num_updates``). Evaluation and the ``.pth`` files of
    ModelCheckpoint use the average; training goes on with the raw weights.

    Args:
        decay: Between 0 and 1; nearer to 1 averages over more updates (1 / (1 - decay)).

    Raises:
        ConfigError: If ``decay`` is not between 0 and 1.
    """

    shares_state = True

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0.0 < decay < 1.0:
            raise ConfigError(f"ema_decay: {decay} must be between 0 and 1, such as 0.999.")
        self.decay = decay
        self.num_updates = 0
        self._average: dict[str, Tensor] = {}
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])  # averages, weights

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start from the weights as they are, and offer the average to the engine."""
        engine = self.engine
        if engine is None:
            return
        if is_sharded(engine.model):
            raise ConfigError("ema_decay does not go with strategy: fsdp2. Leave one of them out.")
        for name, value in self._weights().items():
            known = self._average.get(name, value)
            self._average[name] = known.to(value.device, copy=known is value)
        engine.test_weights = self.swapped_in

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Pair averages and weights, as they are now, for the epoch's updates."""
        weights = self._weights()
        self._pairs = [self._average[name] for name in weights], list(weights.values())

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Take the weights in."""
        if self.engine is None:
            return
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        foreach("lerp_", *self._pairs, 1.0 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Put the average in the place of the weights, and back again whatever happens."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the model's state dict with the average in the place of the weights."""
        engine = self.engine
        state = unwrap(engine.model).state_dict() if engine is not None else {}
        averages = {_place(value): self._average[name] for name, value in self._weights().items()}
        state.update({name: averages.get(_place(value), value) for name, value in state.items()})
        return state

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates in it."""
        return {"average": self._average, "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        for name, value in state["average"].items():
            if name in self._average:
                self._average[name].copy_(value)  # in place: it may be paired with its weight
            else:
                self._average[name] = value.clone()
        self.num_updates = state["num_updates"]

    @torch.no_grad()
    def _swap(self) -> None:
        # The tensors' contents change places, so that every reference to a weight stays right:
        # the optimizer's, a wrapper's, a compiled graph's.
        for name, value in self._weights().items():
            kept = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)

    def _weights(self) -> dict[str, Tensor]:
        """Return the floating-point parameters and buffers, detached, by name."""
        engine = self.engine
        state = unwrap(engine.model).state_dict() if engine is not None else {}
        # Tied weights have several names, but must be averaged and swapped once.
        tensors = {
            _place(value): name
            for name, value in reversed(state.items())
            if value.is_floating_point()
        }
        return {name: state[name] for name in reversed(tensors.values())}


def _place(value: Tensor) -> Any:
    """Return what tied weights have in common."""
    return value.data_ptr(), value.shape, value.stride(), value.dtype
