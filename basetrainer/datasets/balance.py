"""How often each class is shown: weights, the order drawn from them, and the old DataResample."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from basetrainer._names import lookup
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

STRENGTHS: dict[str, Callable[[Floats], Floats]] = {
    "y": lambda counts: counts,
    "sqrt": lambda counts: np.sqrt(counts + 1),
    "log": lambda counts: np.log(counts + 1),
    "mean": lambda counts: np.ones_like(counts),
}
"""Name -> a class's share of an epoch before normalisation, from its number of images.

From weak to strong: ``y`` leaves all as it is, ``sqrt`` and ``log`` compress, ``mean`` shows every
class equally often. Of 900 and 100 images: 90 and 10 %, 75 and 25 %, 60 and 40 %, 50 and 50 %.
"""


_NOTHING = "No class has an image: there is nothing to balance."


def class_shares(counts: ArrayLike, balance: str = "mean") -> Floats:
    """Return the share of an epoch that each class gets.

    Args:
        counts: Number of images of each class, shape ``(C,)``; a class without any gets nothing.
        balance: A name of :data:`STRENGTHS`.

    Returns:
        float64, shape ``(C,)``; they sum to 1.

    Raises:
        UnknownNameError: If there is no such strength.
        ConfigError: If there is no image at all.
    """
    strength = lookup("balance", balance, STRENGTHS)
    numbers = np.asarray(counts, dtype=np.float64)
    if not numbers.sum() > 0:
        raise ConfigError(_NOTHING)
    shares = np.where(numbers > 0, strength(numbers), 0.0)
    return np.asarray(shares / shares.sum())


def sample_weights(targets: ArrayLike, balance: str = "mean") -> Tensor:
    """Return how often each sample is to be shown in an epoch of as many draws as samples.

    The images of a class share its share (:func:`class_shares`) equally. A sample with several
    labels gets the weight of the rarest of them, one without any counts as of one further class.

    Args:
        targets: Class indices, shape ``(N,)``, or 0/1, shape ``(N, C)``: ``dataset.targets``.
        balance: "y", "sqrt", "log" or "mean", from weak to strong.

    Returns:
        float64, shape ``(N,)``, mean 1 (for single labels); with "y" all are 1.

    Raises:
        UnknownNameError: If there is no such strength.
        ConfigError: If there is no sample, or the targets are no labels.
    """
    labels = _checked_labels(targets)
    if labels.ndim == 1:
        counts = np.bincount(labels)
        return torch.from_numpy(_per_image(counts, class_shares(counts, balance), len(labels)))[
            torch.from_numpy(labels.astype(np.int64))
        ]
    flags = np.concatenate([labels, ~labels.any(axis=1, keepdims=True)], axis=1).astype(bool)
    counts = flags.sum(axis=0)
    per_image = _per_image(counts, class_shares(counts, balance), len(labels))
    return torch.from_numpy(np.where(flags, per_image, 0.0).max(axis=1))


def _checked_labels(targets: ArrayLike) -> NDArray[Any]:
    labels = np.asarray(targets)
    if not labels.size:
        raise ConfigError(_NOTHING)
    if labels.ndim not in (1, 2):
        raise ConfigError(
            f"targets of shape {labels.shape} are no labels of samples: give class indices (N,), "
            f"or 0/1 for each class (N, C), such as dataset.targets."
        )
    if labels.ndim == 1 and (labels.dtype.kind not in "iu" or labels.min() < 0):
        raise ConfigError(
            f"targets {labels[:5].tolist()}... are no class indices: give whole numbers from 0 on, "
            f"such as dataset.targets."
        )
    return labels


def _per_image(counts: NDArray[Any], shares: Floats, num_samples: int) -> Floats:
    return np.asarray(shares * num_samples / np.maximum(counts, 1))


def resample_weights(targets: ArrayLike, resample: str | bool | None) -> Tensor | None:
    """Return the weights that the cfg key ``resample`` asks for, for ``build_dataloader``.

    Args:
        targets: See :func:`sample_weights`.
        resample: A name of :data:`STRENGTHS`; True means "mean"; None, False and "" mean none.

    Raises:
        UnknownNameError: If there is no such strength.
        ConfigError: If there is no sample.
    """
    if not resample:
        return None
    return sample_weights(targets, "mean" if resample is True else resample)


def checked_weights(weights: ArrayLike | Tensor, num_samples: int) -> Tensor:
    """Return weights as float64 on the CPU, shape ``(num_samples,)``.

    Raises:
        ConfigError: If there is not one for each sample, no weight is positive, or one is
            negative, infinite or NaN.
    """
    checked = torch.as_tensor(weights).detach().to("cpu", torch.float64)
    if checked.shape != (num_samples,):
        raise ConfigError(
            f"weights of shape {tuple(checked.shape)} for a dataset of {num_samples} samples: "
            f"give one number for each sample, such as sample_weights(dataset.targets)."
        )
    is_usable = bool(torch.isfinite(checked).all() & (checked >= 0).all() & (checked > 0).any())
    if not is_usable:
        raise ConfigError("weights must be finite and not negative, at least one above 0.")
    return checked


def balanced_order(weights: Tensor, num_samples: int, seed: int, epoch: int) -> Tensor:
    """Draw the samples of one epoch.

    A function of its arguments alone: it touches no global generator, so every rank and every
    resumed run gets the same. Sample i is expected ``num_samples * weights[i] / sum(weights)``
    times and comes the next smaller or larger whole number of times: nothing rare is shown ten
    times while its neighbour is not shown at all, as independent draws would do, and equal weights
    give a plain shuffle. The samples of equal weight, hence a class or several of equal size, are
    together shown as often as expected, to within one.

    Args:
        weights: Not negative, any scale, shape ``(N,)``.
        num_samples: How many to draw, usually N.
        seed: The run's seed.
        epoch: Which epoch, from 0.

    Returns:
        Indices in the order to show them, int64, shape ``(num_samples,)``.

    Raises:
        ConfigError: If no weight is positive, or one is negative, infinite or NaN.
    """
    weights = checked_weights(weights, len(weights))
    mixed = np.random.SeedSequence([seed & (2**64 - 1), epoch]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(mixed[0]))
    shuffled = torch.randperm(len(weights), generator=generator)
    # Systematic sampling: one draw, then equal steps along the cumulated weights. Sorted, equal
    # weights lie side by side, so that their sum is met exactly; shuffled before, no two samples
    # are bound to each other.
    shuffled = shuffled[weights[shuffled].argsort(stable=True)]
    ends = weights[shuffled].cumsum(0)
    ends *= num_samples / ends[-1]
    # Off 0 and 1 by more than the cumulated rounding, so that equal weights are an exact shuffle.
    start = (torch.randint(2**20, (), generator=generator) + 0.5) / 2**20
    steps = torch.arange(num_samples, dtype=torch.float64) + start
    places = torch.searchsorted(ends, steps, right=True).clamp_(max=len(weights) - 1)
    return shuffled[places][torch.randperm(num_samples, generator=generator)]


class DataResample:
    """A list of items resampled so that rare classes come more often: the old way, by a list.

    Each class gets its share of the number of items, rounded up: items are left out at random
    where there are too many, repeated equally often (to within one) where there are too few. It
    draws from Python's global ``random``, as programs that seed it expect. New programs use
    :func:`sample_weights`, which is right under several processes and exact on resume.

    Args:
        item_list: Items ``(path, label, ...)``; never changed.
        label_index: Place of the label in an item.
        balance: "y", "sqrt", "log" or "mean", from weak to strong.
        shuffle: Whether items are drawn and ordered at random; else the first of each class are
            taken, class after class.
        disp: Whether to log the number of items of each class before and after.

    Raises:
        UnknownNameError: If there is no such strength.

    Attributes:
        item_list: The resampled items; drawn anew by :meth:`update` and ``len()``.
        src_item_list: The items as given.
        class_count: Label -> number of items given.
        class_item_dict: Label -> items given.
        balance_nums: Label -> number of items of an epoch.
        class_weight: Label -> number of all items by that of the class, a weight for a loss.
    """

    def __init__(
        self,
        item_list: Sequence[Any] | None = None,
        label_index: int = 1,
        balance: str = "mean",
        shuffle: bool = True,
        disp: bool = False,
    ) -> None:
        lookup("balance", balance, STRENGTHS)
        self.src_item_list = [] if item_list is None else item_list
        self.label_index = label_index
        self.balance = balance
        self.shuffle = shuffle
        self.disp = disp
        self.class_item_dict: dict[Hashable, list[Any]] = {}
        for item in self.src_item_list:
            self.class_item_dict.setdefault(item[label_index], []).append(item)
        self.class_count = {label: len(items) for label, items in self.class_item_dict.items()}
        total = len(self.src_item_list)
        self.class_weight = {label: total / count for label, count in self.class_count.items()}
        shares: Iterable[float] = (
            class_shares(list(self.class_count.values()), balance) if total else ()
        )
        # Rounded before it is rounded up: 3.0000000000000004 items are three.
        numbers = (math.ceil(round(share * total, 6)) for share in shares)
        self.balance_nums = dict(zip(self.class_count, numbers, strict=True))
        self.item_list = self.update(shuffle)

    def __len__(self) -> int:
        """Draw anew and return the number of items: data loaders ask once per epoch."""
        return len(self.update(self.shuffle))

    def update(self, shuffle: bool = False) -> list[Any]:
        """Draw the items of an epoch anew, keep them as ``item_list`` and return them."""
        drawn: list[Any] = []
        for label, items in self.class_item_dict.items():
            rounds, rest = divmod(self.balance_nums[label], len(items))
            drawn += items * rounds
            drawn += random.sample(items, rest) if shuffle else items[:rest]
        if shuffle:
            random.shuffle(drawn)
        self.item_list = drawn
        if self.disp:
            logger.info("resampled %s to %s", self.class_count, self.balance_nums)
        return drawn
