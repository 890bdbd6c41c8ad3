"""Slim: an L1 penalty on the scales of BatchNorms, so that few channels matter."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from basetrainer._torch_private import foreach
from basetrainer.callbacks.after_update import AfterUpdate
from basetrainer.errors import ConfigError


class Slim(AfterUpdate):
    """Pulls each BatchNorm scale towards 0 after each update (Network Slimming, arXiv:1708.06519).

    ``gamma = sign(gamma) * max(|gamma| - lr * slim_lambda, 0)``: the proximal step of the penalty
    ``slim_lambda * |gamma|`` (Parikh and Boyd, Proximal Algorithms, 2014), taken after the
    optimizer's own step. The paper adds ``slim_lambda * sign(gamma)`` to the gradients, which is
    scaled with them by accumulation, ranks and mixed precision, clipped with them, and divided by
    what adaptive optimizers divide by; nor do scales ever get exactly 0. The step here depends on
    nothing but weights and learning rate, so all ranks take the same. SGD with momentum m makes the
    paper's penalty 1 / (1 - m) times as strong: 1e-4 there is 1e-3 here with 0.9.

    Args:
        slim_lambda: Weight of the penalty; above 0.

    Raises:
        ConfigError: If it is not above 0.
    """

    def __init__(self, slim_lambda: float = 1e-3) -> None:
        super().__init__()
        if not slim_lambda > 0.0:
            raise ConfigError(f"slim_lambda: {slim_lambda} must be more than 0, such as 0.001.")
        self.slim_lambda = slim_lambda
        self._scales: list[tuple[dict[str, Any], list[Tensor]]] = []  # groups of the optimizers

    def find(self, network: nn.Module) -> None:
        """Find the scales that are trained, as the optimizers have them now."""
        scales = {
            id(module.weight)
            for module in network.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
        }
        optimizers = self.engine.optimizers if self.engine is not None else []
        groups = [group for one in optimizers for group in one.param_groups]
        found = [
            (group, [p.detach() for p in group["params"] if id(p) in scales]) for group in groups
        ]
        self._scales = [(group, own) for group, own in found if own]
        if not self._scales:
            raise ConfigError(
                f"slim_lambda: {type(network).__name__} trains no BatchNorm, whose scales it is "
                f"for. Leave the key out."
            )

    def act(self) -> None:
        """Take the step."""
        for group, scales in self._scales:
            step_size = float(group["lr"]) * self.slim_lambda
            # x - clip(x, -t, t) is the soft threshold.
            inside = foreach("clamp_max", scales, step_size)
            foreach("clamp_min_", inside, -step_size)
            foreach("sub_", scales, inside)
