"""KeepZeros: weights that pruning made 0 stay 0 while the others are trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.strategy import unwrap
from basetrainer.models.structure import structure_of


class KeepZeros(Callback):
    """Makes 0, after each update, the weights that were 0 at the start.

    It is about the layers that :func:`~basetrainer.pruning.prune.prune` treated with ``Level``; for
    such a network it is among the callbacks by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: list[Tensor] = []
        self._masks: list[Tensor] = []
        self._seen_update = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Find the zeros."""
        engine = self.engine
        if engine is None:
            return
        self._seen_update = engine.position.update
        network = unwrap(engine.model)
        layers = [network.get_submodule(name) for name in structure_of(network).get("zeros", ())]
        self._weights = [layer.weight.detach() for layer in layers]  # type: ignore[operator]
        self._masks = [(weight != 0).to(weight.dtype) for weight in self._weights]

    def on_train_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        step: int,
        logs: Logs | None = None,
    ) -> None:
        """Put the zeros back, if an optimizer changed the weights; before averages take them in."""
        engine = self.engine
        if engine is None or engine.position.update == self._seen_update or not self._weights:
            return
        self._seen_update = engine.position.update
        torch._foreach_mul_(self._weights, self._masks)
