"""LossesRecorder: the mean of one loss per phase."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from basetrainer._logs import Metrics
from basetrainer.callbacks.recorder import Recorder, Tally
from basetrainer.distributed.context import DistContext
from basetrainer.engine.losses import named_losses
from basetrainer.utils.meters import Mean


class NamedMeans(Tally):
    """The mean of each loss, weighted by samples (by ``Engine.loss_count``, in general).

    Args:
        skips_nonfinite: Whether the losses of updates that were left out are left out too.
    """

    def __init__(self, skips_nonfinite: bool = False) -> None:
        self.means: dict[str, Mean] = {}
        self._skips_nonfinite = skips_nonfinite

    def add(self, inputs: Any, outputs: Any, losses: Any, count: float | Tensor) -> None:
        """Hold each loss of a batch."""
        for name, value in named_losses(losses):
            mean = self.means.get(name)
            if mean is None:
                mean = self.means[name] = Mean(self._skips_nonfinite)
            mean.add(value, count)

    def reduce(self, context: DistContext) -> None:
        """Add the sums and weights of all ranks, in the order of the ranks."""
        for mean in self.means.values():
            mean.settle()
        mine = {name: (mean.total, mean.weight) for name, mean in self.means.items()}
        self.means = {}
        for sums in context.gather(mine):
            for name, (total, weight) in sums.items():
                mean = self.means.setdefault(name, Mean())
                mean.total += total
                mean.weight += weight

    def take_in(self, other: Tally) -> None:
        """Add the sums and weights of another tally."""
        if isinstance(other, NamedMeans):
            for name, mean in other.means.items():
                self.means.setdefault(name, Mean(self._skips_nonfinite)).take_in(mean)

    def figures(self) -> Metrics:
        """Return the means by name."""
        return self.arranged(_known({name: mean.compute() for name, mean in self.means.items()}))

    def recent(self) -> Metrics:
        """Return the means of what was added since the last call."""
        return self.arranged(_known({name: mean.recent() for name, mean in self.means.items()}))

    def arranged(self, means: dict[str, float]) -> Metrics:
        """Return the means as they stand in the logs; here by name."""
        return dict(means)

    def state_dict(self) -> dict[str, Any]:
        """Return the sum and the weight of each loss."""
        return {name: mean.state_dict() for name, mean in self.means.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        for name, sums in state.items():
            self.means[name] = Mean(self._skips_nonfinite)
            self.means[name].load_state_dict(sums)


def _known(means: dict[str, float | None]) -> dict[str, float]:
    return {name: mean for name, mean in means.items() if mean is not None}


class _TotalMean(NamedMeans):
    """The mean of the sum of the losses."""

    def __init__(self, indicator: str, skips_nonfinite: bool) -> None:
        super().__init__(skips_nonfinite)
        self._indicator = indicator

    def arranged(self, means: dict[str, float]) -> Metrics:
        return {self._indicator: sum(means.values())} if means else {}


class LossesRecorder(Recorder):
    """Writes the mean loss into ``logs["train"|"test"][indicator]``.

    The mean is over samples, not over batches: a smaller last batch counts less. Several losses
    (a dict, list or tuple) count by their sum; one that some batches lack is averaged over those
    that have it. An evaluation without losses (``None``, ``{}``, ``()``) has no figure.

    Args:
        indicator: The figure's name.
    """

    def __init__(self, indicator: str = "loss") -> None:
        super().__init__()
        self.indicator = indicator

    def new_tally(self) -> Tally:
        """Return an empty mean."""
        return _TotalMean(self.indicator, self.skips_nonfinite)
