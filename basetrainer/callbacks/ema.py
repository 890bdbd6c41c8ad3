"""EMA: an exponential moving average of the weights, which is tested and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basetrainer._logs import Logs
from basetrainer._torch_private import foreach
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.model_state import full_state
from basetrainer.distributed.strategy import is_sharded, unwrap
from basetrainer.errors import ConfigError
from basetrainer.models.learned import is_learned, statistics


class EMA(Callback):
    """Averages what is learned after each update.

    That is every floating-point or complex parameter that requires a gradient, from the moment it
    does, and the running statistics of normalization layers (``running_mean``, ``running_var``).
    Other buffers, frozen parameters and integers are tested and saved as they are.

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
        self._parameters: list[tuple[str, nn.Parameter]] = []
        self._statistics: list[tuple[str, nn.Module, str]] = []
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])  # averages, weights
        self._num_paired = -1  # parameters that required a gradient; -1: pair anew

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
        self._num_paired = -1

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Take the weights in."""
        if self.engine is None:
            return
        self._take_in()

    @torch.no_grad()
    def _take_in(self) -> None:
        decay = self._next_decay()
        self.num_updates += 1
        if self._num_paired != sum(one.requires_grad for _, one in self._parameters):
            self._pair()
        averages, weights = self._pairs
        if self._statistics:
            averages, weights = list(averages), list(weights)
            for name, value in self._looked_up():
                averages.append(self._average_of(name, value))
                weights.append(value)
        if averages:
            foreach("lerp_", averages, weights, 1.0 - decay)

    def _next_decay(self) -> float:
        """Return the share of the average in the next one."""
        return min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))

    def _pair(self) -> None:
        self._list()
        fixed = [(name, one) for name, one in self._parameters if self._is_averaged(name, one)]
        # Layers of torch change their statistics in place; others may assign them anew.
        own = [one for one in self._statistics if type(one[1]).__module__.startswith("torch.")]
        self._statistics = [one for one in self._statistics if one not in own]
        pairs = [*fixed, *((name, getattr(layer, attribute)) for name, layer, attribute in own)]
        self._pairs = [self._average_of(*pair) for pair in pairs], [value for _, value in pairs]
        are_ready = not any(is_lazy(one) for _, one in self._parameters)
        self._num_paired = (
            sum(one.requires_grad for _, one in self._parameters) if are_ready else -1
        )

    def _average_of(self, name: str, value: Tensor) -> Tensor:
        """Return the average under a name; it begins here if the value is new, or has grown."""
        average = self._average.get(name)
        if average is None or average.shape != value.shape:
            average = self._average[name] = value.detach().clone()
        return average

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Put the average in the place of the weights, and back again whatever happens."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the model's state dict with the average in the place of the weights.

        Tensors that are not averaged are those of the model itself.
        """
        engine = self.engine
        if engine is None:
            return {}
        state = full_state(engine.model)
        averages = {_place(value): self._average[name] for name, value in self._averaged()}
        state.update(
            {
                name: averages[_place(value)]  # under each name of tied weights
                for name, value in state.items()
                if isinstance(value, Tensor) and _place(value) in averages
            }
        )
        return state

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates in it."""
        return {"average": self._average, "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned.

        Raises:
            ValueError: If something was averaged that the model does not have.
        """
        engine = self.engine
        own = None if engine is None else unwrap(engine.model).state_dict(keep_vars=True)
        for name, value in state["average"].items():
            if own is not None and name not in own:
                raise ValueError(f"{name!r} was averaged, but is not in the model")
            device = value.device if own is None else own[name].device
            self._average[name] = value.to(device, copy=True)
        self._num_paired = -1
        self.num_updates = state["num_updates"]

    @torch.no_grad()
    def _swap(self) -> None:
        # The tensors' contents change places, so that every reference to a weight stays right:
        # the optimizer's, a wrapper's, a compiled graph's.
        for name, value in self._averaged():
            kept = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)

    def _averaged(self) -> list[tuple[str, Tensor]]:
        """Return, by name, what has an average of its shape."""
        return [
            (name, value)
            for name, value in self._weights().items()
            if name in self._average and self._average[name].shape == value.shape
        ]

    def _weights(self) -> dict[str, Tensor]:
        """Return what is, or was, averaged: by name, tied weights once."""
        self._list()
        self._num_paired = -1
        parameters = [one for one in self._parameters if self._is_averaged(*one)]
        return {name: one.detach() for name, one in (*parameters, *self._looked_up())}

    def _list(self) -> None:
        engine = self.engine
        model = unwrap(engine.model) if engine is not None else nn.Module()
        self._parameters = [(name, one) for name, one in model.named_parameters() if _is_mean(one)]
        self._statistics = list(statistics(model))

    def _is_averaged(self, name: str, parameter: nn.Parameter) -> bool:
        return is_learned(parameter) or name in self._average

    def _looked_up(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the statistics as they are now: they may be new tensors."""
        for name, layer, attribute in self._statistics:
            if (value := getattr(layer, attribute)) is not None:
                yield name, value


def _is_mean(value: Tensor) -> bool:
    """Whether a mean of such values is one; torch computes nothing with float8."""
    if is_lazy(value):  # it takes its shape from the first batch
        return True
    return value.is_complex() or (value.is_floating_point() and value.element_size() > 1)


def _place(value: Tensor) -> Any:
    """Return what the views of one tensor have in common; of sparse ones, which have none, so."""
    if value.layout is not torch.strided or value.is_nested or not value.numel():
        return id(value)
    return value.data_ptr(), value.shape, value.stride(), value.dtype
