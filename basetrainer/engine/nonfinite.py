"""Find NaN and infinite losses at log points, and say which loss of which step it was."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from basetrainer.engine.losses import named_losses
from basetrainer.errors import NonFiniteError
from basetrainer.utils.meters import ScalarHistory


class NonFiniteGuard:
    """Holds the losses of the steps since the last log point, and checks them there.

    Between log points nothing is read on the host. A bad step may change the weights in memory,
    but the check comes before every save, so never those on disk.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, int]] = []
        self._losses: dict[str, ScalarHistory] = {}
        self._counts = ScalarHistory()

    def watch(self, losses: Any, count: float | Tensor, epoch: int, step: int) -> None:
        """Hold one step's losses; one averaged over nothing (count 0) may be NaN."""
        self._steps.append((epoch, step))
        self._counts.append(count)
        for name, value in named_losses(losses):
            self._losses.setdefault(name, ScalarHistory()).append(value)

    def check(self) -> None:
        """Raise for the first bad step since the last check.

        Raises:
            NonFiniteError: If a loss is NaN or infinite; names epoch, step, loss and mends.
        """
        steps, self._steps = self._steps, []
        counts = self._counts.drain()
        # Drained all together: a bad loss must not leave the others one step out of line.
        drained = {name: history.drain() for name, history in self._losses.items()}
        bad = [
            (index, name, value)
            for name, values in drained.items()
            for index, value in enumerate(values, start=len(steps) - len(values))
            if not math.isfinite(value) and counts[index]
        ]
        if bad:
            index, name, value = min(bad, key=lambda found: found[0])
            epoch, step = steps[index]
            raise NonFiniteError(
                f"The loss {name!r} became {value} at epoch {epoch}, step {step}. Nothing was "
                f"saved since. A smaller lr, clip_grad_norm, or a look at that batch helps; "
                f"on_nonfinite: skip leaves such updates out."
            )
