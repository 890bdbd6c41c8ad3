"""Old door: running means and top-k accuracy, as existing programs call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from basetrainer.errors import ConfigError

__all__ = ["AverageMeter", "MultiAverageMeter", "accuracy"]


class AverageMeter:
    """The mean of what it is given, by count.

    Attributes:
        val: The last value.
        sum: Of all values, each times its count.
        count: Of all values.
        avg: ``sum / count``; 0 before the first value.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.val = self.sum = self.avg = 0.0
        self.count = 0

    def update(self, val: float | Tensor, n: int = 1) -> None:
        """Take the mean of ``n`` samples in; a tensor must hold one number."""
        self.val = float(val)
        self.sum += self.val * n
        self.count += n
        self.avg = self.sum / self.count if self.count else 0.0


class MultiAverageMeter:
    """An :class:`AverageMeter` for each name.

    Attributes:
        meters: Name -> its meter, made at its first value.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, the names too."""
        self.meters: dict[str, AverageMeter] = {}

    def update(self, val: Mapping[str, float | Tensor], n: int = 1) -> None:
        """Take one mean of ``n`` samples in for each name."""
        for name, value in val.items():
            self.meters.setdefault(name, AverageMeter()).update(value, n)

    @property
    def avg(self) -> dict[str, float]:
        """Name -> mean."""
        return {name: meter.avg for name, meter in self.meters.items()}


def accuracy(pred: Tensor, target: Tensor, topk: Sequence[int] = (1,)) -> list[Tensor]:
    """Return, for each k, the percentage of samples whose label is among the k highest scores.

    Args:
        pred: Scores, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``.
        topk: How many guesses count, each between 1 and C.

    Returns:
        A tensor of one number for each k, between 0 and 100.

    Raises:
        ConfigError: If a k is below 1 or above C.
    """
    largest = max(topk)
    if min(topk) < 1 or largest > pred.shape[1]:
        raise ConfigError(f"topk: {tuple(topk)} must lie between 1 and {pred.shape[1]} classes.")
    guesses = pred.topk(largest, dim=1).indices
    hits = guesses.eq(target.reshape(-1, 1))
    return [100.0 * hits[:, :k].any(dim=1).float().mean() for k in topk]
