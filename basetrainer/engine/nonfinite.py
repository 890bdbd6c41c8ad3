"""Find NaN and infinite losses at log points, and say which loss of which step it was."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from torch import Tensor

from basetrainer.engine.losses import named_losses
from basetrainer.errors import NonFiniteError
from basetrainer.utils.meters import ScalarHistory

Place: TypeAlias = tuple[int, int, "float | Tensor"]
"""Epoch, step, and over how many things the loss was averaged."""


class NonFiniteGuard:
    """Holds the losses of the steps since the last log point, and checks them there.

    Between log points nothing is read on the host. A bad step may change the weights in memory,
    but the check comes before every save, so never those on disk.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[list[Place], ScalarHistory]] = {}

    def watch(self, losses: Any, count: float | Tensor, epoch: int, step: int) -> None:
        """Hold one step's losses; one averaged over nothing (count 0) may be NaN."""
        for name, value in named_losses(losses):
            held = self._held.get(name)
            if held is None:
                held = self._held[name] = [], ScalarHistory()
            held[0].append((epoch, step, count))
            held[1].append(value)

    def check(self) -> None:
        """Raise for the first bad step since the last check.

        Raises:
            NonFiniteError: If a loss is NaN or infinite; names epoch, step, loss and mends.
        """
        held, self._held = self._held, {}
        bad = [
            (epoch, step, name, value)
            for name, (places, history) in held.items()
            for (epoch, step, count), value in zip(places, history.drain(), strict=True)
            if not math.isfinite(value) and count  # a mean over nothing is NaN
        ]
        if bad:
            epoch, step, name, value = min(bad, key=lambda found: found[:2])
            raise NonFiniteError(
                f"The loss {name!r} became {value} at epoch {epoch}, step {step}. Nothing was "
                f"saved since. A smaller lr, clip_grad_norm, or a look at that batch helps; "
                f"on_nonfinite: skip leaves such updates out."
            )
