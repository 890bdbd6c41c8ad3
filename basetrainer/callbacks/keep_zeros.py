"""KeepZeros: weights that pruning made 0 stay 0 while the others are trained."""

from __future__ import annotations

from torch import Tensor, nn

from basetrainer._torch_private import foreach
from basetrainer.callbacks.after_update import AfterUpdate
from basetrainer.models.structure import structure_of


class KeepZeros(AfterUpdate):
    """Makes 0, after each update, the weights that were 0 before it.

    It is about the layers that :func:`~basetrainer.pruning.prune.prune` treated with ``Level``; for
    such a network it is among the callbacks by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: list[Tensor] = []
        self._masks: list[Tensor] = []

    def find(self, network: nn.Module) -> None:
        """Find the zeros."""
        layers = [network.get_submodule(name) for name in structure_of(network).get("zeros", ())]
        self._weights = [layer.weight.detach() for layer in layers]  # type: ignore[operator]
        self._masks = [(weight != 0).to(weight.dtype) for weight in self._weights]

    def act(self) -> None:
        """Put the zeros back."""
        if self._weights:
            foreach("mul_", self._weights, self._masks)
