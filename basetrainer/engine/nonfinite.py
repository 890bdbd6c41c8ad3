"""Find NaN and infinite losses at log points, and say which loss of which step it was."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any, TypeAlias

import torch
from torch import Tensor

from basetrainer._epochs import epoch_number
from basetrainer.distributed.context import DistContext
from basetrainer.engine.losses import named_losses
from basetrainer.errors import NonFiniteError
from basetrainer.utils.meters import ScalarHistory

_MOST = 1 << 12
"""How many losses are held before they are looked at without a log point."""

Bad: TypeAlias = tuple[int, int, str, float]
"""Epoch, step, name and value of a loss."""

Place: TypeAlias = tuple[int, int, "float | Tensor"]
"""Epoch, step, and over how many things the loss was averaged."""


class NonFiniteGuard:
    """Holds the losses of the steps since the last log point, and checks them there.

    Between log points nothing is read on the host. A bad step may change the weights in memory,
    but the check comes before every save, so never those on disk.

    Args:
        context: This process's place in the run: all ranks stop at the same check, for one reason.

    Attributes:
        num_checks: How often it has looked.
        seconds: How long the host waited for the device then.
    """

    def __init__(self, context: DistContext | None = None) -> None:
        self.num_checks = 0
        self.seconds = 0.0
        self._context = context or DistContext()
        self._held: dict[str, tuple[list[Place], ScalarHistory]] = {}
        self._bad: Bad | None = None  # the first one among losses that were held and forgotten

    def watch(self, losses: Any, count: float | Tensor, epoch: int, step: int) -> None:
        """Hold one step's losses; one averaged over nothing (count 0) may be NaN."""
        if isinstance(count, Tensor):
            count = count.detach().clone()  # the caller may use it again
        place, held = (epoch, step, count), None
        for name, value in named_losses(losses):
            held = self._held.get(name)
            if held is None:
                held = self._held[name] = [], ScalarHistory()
            held[0].append(place)
            held[1].append(value)
        if held is not None and len(held[0]) >= _MOST:  # where log points are rare or none
            self._bad = self._first_bad()

    def check(self) -> None:
        """Raise for the first bad step since the last check; every rank must call it.

        Raises:
            NonFiniteError: If a loss of any rank is NaN or infinite; names epoch, step, loss and
                mends.
        """
        context, mine = self._context, self._first_bad()
        self._bad = None
        # One number is all that the ranks exchange while everything is well.
        if not context.sum(torch.tensor(int(mine is not None))):
            return
        found = [(one, rank) for rank, one in enumerate(context.gather(mine)) if one is not None]
        (epoch, step, name, value), rank = min(found, key=lambda one: one[0][:2])
        where = f" on rank {rank}" if context.world_size > 1 else ""
        raise NonFiniteError(
            f"The loss {name!r} became {value} at epoch {epoch_number(epoch)}, step {step}{where}. "
            f"Nothing was saved since. A smaller lr, clip_grad_norm, or a look at that batch "
            f"helps; on_nonfinite: skip leaves such updates out."
        )

    def _first_bad(self) -> Bad | None:
        """Return this rank's first bad loss, and forget the rest."""
        held, self._held = self._held, {}
        begin = perf_counter()
        bad = [
            (epoch, step, name, value)
            for name, (places, history) in held.items()
            for (epoch, step, count), value in zip(places, history.drain(), strict=True)
            if not math.isfinite(value) and count  # a mean over nothing is NaN
        ]
        self.seconds += perf_counter() - begin
        self.num_checks += 1
        first = min(bad, key=lambda one: one[:2], default=None)
        return self._bad or first
