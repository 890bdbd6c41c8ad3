"""Slim: an L1 penalty on the scales of BatchNorms, so that few channels matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.strategy import unwrap
from basetrainer.errors import ConfigError


class Slim(Callback):
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
        self._seen_update = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Find the scales that are trained, as the optimizers have them now."""
        engine = self.engine
        if engine is None:
            return
        self._seen_update = engine.position.update
        scales = {
            id(module.weight)
            for module in unwrap(engine.model).modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
        }
        groups = [group for one in engine.optimizers for group in one.param_groups]
        found = [
            (group, [p.detach() for p in group["params"] if id(p) in scales]) for group in groups
        ]
        self._scales = [(group, own) for group, own in found if own]
        if not self._scales:
            raise ConfigError(
                f"slim_lambda: {type(unwrap(engine.model)).__name__} trains no BatchNorm, whose "
                f"scales it is for. Leave the key out."
            )

    def on_train_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        step: int,
        logs: Logs | None = None,
    ) -> None:
        """Take the step, if an optimizer changed the weights; before averages take them in."""
        engine = self.engine
        if engine is None or engine.position.update == self._seen_update:
            return
        self._seen_update = engine.position.update
        for group, scales in self._scales:
            step_size = float(group["lr"]) * self.slim_lambda
            # x - clip(x, -t, t) is the soft threshold.
            inside = torch._foreach_clamp_max(scales, step_size)
            torch._foreach_clamp_min_(inside, -step_size)
            torch._foreach_sub_(scales, inside)
