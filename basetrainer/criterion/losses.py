"""Losses that torch does not have, or not in this form; all take unnormalised scores (logits)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from basetrainer.criterion.weights import (
    along_classes,
    as_weight,
    check_reduction,
    of_targets,
    one_hot,
)
from basetrainer.errors import ConfigError


class FocalLoss(nn.Module):
    """Cross entropy that well classified samples hardly add to.

    ``FL = -alpha_t * (1 - p_t) ** gamma * log(p_t)`` with ``p_t`` the softmax probability of the
    true class: Lin et al., Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002,
    with softmax in place of the paper's sigmoid. ``gamma=0`` is plain cross entropy.

    Logits have the shape ``(N, C, ...)``. Targets are class indices ``(N, ...)``, or probabilities
    ``(N, C, ...)`` as MixUp makes them; the loss is then the sum over the classes of probability
    times the term above.

    Args:
        alpha: Weight of each class, a list or tensor of C numbers, or one number for all.
        gamma: How strongly easy samples are played down; 0 or more, the paper's best is 2.
        reduction: ``mean`` over the targets that are not ignored, ``sum``, or ``none``.
        ignore_index: Class index that adds nothing.
    """

    alpha: Tensor | None

    def __init__(
        self,
        alpha: float | Sequence[float] | Tensor | None = None,
        gamma: float = 2.0,
        reduction: str = "mean",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        if gamma < 0:
            raise ConfigError(f"FocalLoss got gamma={gamma!r}: write 0 (cross entropy) or more.")
        self.gamma = gamma
        self.reduction = check_reduction(reduction)
        self.ignore_index = ignore_index
        self.register_buffer("alpha", as_weight(alpha))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; a scalar, or of shape ``(N, ...)`` without reduction."""
        log_p = functional.log_softmax(logits, dim=1)
        if targets.is_floating_point():
            counted = torch.ones_like(log_p[:, 0])
            losses = -(self._weighted(log_p, targets) * self._focus(log_p) * log_p).sum(dim=1)
        else:
            counted = (targets != self.ignore_index).to(log_p.dtype)
            index = targets.masked_fill(targets == self.ignore_index, 0)
            log_p = log_p.gather(1, index.unsqueeze(1)).squeeze(1)
            weights = counted if self.alpha is None else counted * of_targets(self.alpha, index)
            losses = -weights * self._focus(log_p) * log_p
        return _reduced(losses, counted, self.reduction)

    def _focus(self, log_p: Tensor) -> Tensor | float:
        if self.gamma == 0:
            return 1.0
        # 1 - p without cancellation; above 0, since a root has no derivative there.
        rest = -torch.expm1(log_p)
        return rest.clamp_min(torch.finfo(rest.dtype).tiny) ** self.gamma

    def _weighted(self, log_p: Tensor, targets: Tensor) -> Tensor:
        if self.alpha is None:
            return targets
        return targets * along_classes(self.alpha, log_p)


class LabelSmoothing(nn.CrossEntropyLoss):
    """Cross entropy towards targets that are not quite sure: torch's own, smoothed by default.

    The target is ``1 - label_smoothing`` for the true class plus ``label_smoothing / C`` for each:
    Szegedy et al., https://arxiv.org/abs/1512.00567.

    Args:
        label_smoothing: How much is spread over all classes, from 0 to 1.
        weight: Weight of each class.
        ignore_index: Class index that adds nothing.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )


class BCEWithLogits(nn.Module):
    """Binary cross entropy of each class by itself, from logits: for several labels per sample.

    Targets are 0 and 1 (or between) in the shape of the logits, of any dtype, or class indices
    ``(N, ...)`` for logits ``(N, C, ...)``, which are taken as one label per sample. With C = 1
    they are 0 and 1 in either shape.

    Args:
        weight: Weight of each class, C numbers.
        pos_weight: Weight of the positive targets of each class, C numbers.
        reduction: ``mean`` over all classes and samples, ``sum``, or ``none``.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: float | Sequence[float] | Tensor | None = None,
        pos_weight: float | Sequence[float] | Tensor | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)
        self.register_buffer("weight", as_weight(weight))
        self.register_buffer("pos_weight", as_weight(pos_weight))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; a scalar, or of the shape of the logits without reduction."""
        if targets.ndim == logits.ndim - 1:
            is_binary = logits.shape[1] == 1
            targets = targets.unsqueeze(1) if is_binary else one_hot(targets, logits)
        weight = None if self.weight is None else along_classes(self.weight, logits)
        positive = None if self.pos_weight is None else along_classes(self.pos_weight, logits)
        return functional.binary_cross_entropy_with_logits(
            logits,
            targets.to(logits.dtype),
            weight=weight,
            pos_weight=positive,
            reduction=self.reduction,
        )


class DiceLoss(nn.Module):
    """One minus the overlap of prediction and target, a mean over the classes; for segmentation.

    ``dice_c = (2 * sum(p_c * g_c) + smooth) / (sum(p_c) + sum(g_c) + smooth)`` over all pixels of
    the batch, with ``p`` the softmax of the logits and ``g`` the one-hot targets: the soft Dice
    loss of Milletari et al., https://arxiv.org/abs/1606.04797, with sums in place of squared sums.

    Logits have the shape ``(N, C, ...)``, targets are class indices ``(N, ...)`` or one-hot (or
    soft) ``(N, C, ...)``. With C = 1 it is a sigmoid, and targets are 0 and 1.

    Args:
        smooth: Keeps absent classes defined: neither predicted nor there is a loss of 0.
        weight: Weight of each class in the mean, C numbers.
        ignore_index: Class index of pixels that count nowhere.
    """

    weight: Tensor | None

    def __init__(
        self,
        smooth: float = 1.0,
        weight: float | Sequence[float] | Tensor | None = None,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        if smooth <= 0:
            raise ConfigError(f"DiceLoss got smooth={smooth!r}: write a number above 0, such as 1.")
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.register_buffer("weight", as_weight(weight))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar between 0 and 1."""
        is_binary = logits.shape[1] == 1
        # Sums over all pixels would overflow in half precision.
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        p = logits.sigmoid() if is_binary else logits.softmax(dim=1)
        if is_binary and targets.ndim == logits.ndim:
            targets = targets.squeeze(1)
        if targets.ndim == logits.ndim - 1:
            counted = (targets != self.ignore_index).unsqueeze(1).to(p.dtype)
            p = p * counted
            given = targets.unsqueeze(1).to(p.dtype) * counted
            truth = given if is_binary else one_hot(targets, p, self.ignore_index)
        else:
            truth = targets.to(p.dtype)
        pixels = [dim for dim in range(logits.ndim) if dim != 1]
        overlap = (p * truth).sum(pixels)
        dice = (2 * overlap + self.smooth) / (p.sum(pixels) + truth.sum(pixels) + self.smooth)
        if self.weight is None:
            return 1 - dice.mean()
        weight = self.weight.to(dice.dtype).expand_as(dice)
        return 1 - (dice * weight).sum() / weight.sum()


def _reduced(losses: Tensor, counted: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / counted.sum().clamp_min(1)
