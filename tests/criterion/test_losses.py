"""Each loss against a formula written another way, in float64, and its gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basetrainer.criterion.criterion import get_criterion
from basetrainer.criterion.losses import BCEWithLogits, DiceLoss, FocalLoss, LabelSmoothing
from basetrainer.errors import ConfigError

CLASSES = 3


def logits_of(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def labels_of(*shape: int, ignored: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    labels = torch.randint(CLASSES, shape, generator=generator)
    if ignored:
        labels.view(-1)[::3] = -100
    return labels


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def rows(logits: Tensor, labels: Tensor) -> list[tuple[list[float], int]]:
    """Scores and label of each place, as plain numbers."""
    flat = logits.detach().movedim(1, -1).reshape(-1, logits.shape[1])
    return list(zip(flat.tolist(), labels.reshape(-1).tolist(), strict=True))


def focal_by_hand(logits: Tensor, labels: Tensor, gamma: float, alpha: list[float]) -> list[float]:
    return [
        -alpha[label] * (1 - softmax(scores)[label]) ** gamma * math.log(softmax(scores)[label])
        for scores, label in rows(logits, labels)
        if label != -100
    ]


@pytest.mark.parametrize("shape", [(5,), (2, 3, 2)])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25, [0.2, 0.3, 0.5]])
def test_focal_loss_is_the_papers_formula(
    shape: tuple[int, ...], ignored: bool, gamma: float, alpha: Any
) -> None:
    logits = logits_of(shape[0], CLASSES, *shape[1:])
    labels = labels_of(*shape, ignored=ignored)
    each = alpha if isinstance(alpha, list) else [1.0 if alpha is None else alpha] * CLASSES
    terms = focal_by_hand(logits, labels, gamma, each)
    for reduction, expected in (("mean", sum(terms) / len(terms)), ("sum", sum(terms))):
        loss = FocalLoss(alpha, gamma, reduction)(logits, labels)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
    single = FocalLoss(alpha, gamma, "none")(logits, labels)
    assert single.shape == shape
    assert single[labels != -100].tolist() == pytest.approx(terms, rel=1e-6)
    assert not single[labels == -100].any()


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    logits, labels = logits_of(5, CLASSES), labels_of(5, ignored=True)
    ours, torchs = FocalLoss(gamma=0)(logits, labels), nn.CrossEntropyLoss()(logits, labels)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("alpha", [None, [0.2, 0.3, 0.5]])
def test_focal_loss_takes_mixed_targets(alpha: Any) -> None:
    logits, first, second = logits_of(5, CLASSES), labels_of(5), labels_of(5).flip(0)
    one_hot = [nn.functional.one_hot(one, CLASSES).double() for one in (first, second)]
    loss = FocalLoss(alpha)
    mixed = loss(logits, 0.3 * one_hot[0] + 0.7 * one_hot[1])
    torch.testing.assert_close(mixed, 0.3 * loss(logits, first) + 0.7 * loss(logits, second))


def test_focal_loss_of_nothing_but_ignored_labels_is_zero() -> None:
    labels = torch.full((4,), 255)
    assert FocalLoss(ignore_index=255)(logits_of(4, CLASSES), labels).item() == 0.0


def test_focal_loss_has_a_gradient_where_the_answer_is_certain() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    FocalLoss(gamma=0.5)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_label_smoothing_spreads_its_part_over_all_classes() -> None:
    logits, labels = logits_of(5, CLASSES), labels_of(5)
    expected = 0.0
    for scores, label in rows(logits, labels):
        logs = [math.log(p) for p in softmax(scores)]
        expected -= (0.9 * logs[label] + 0.1 * sum(logs) / CLASSES) / 5
    assert LabelSmoothing()(logits, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5]])
@pytest.mark.parametrize("pos_weight", [None, [3.0, 1.0, 0.5]])
@pytest.mark.parametrize("shape", [(4, CLASSES), (2, CLASSES, 2, 2)])
def test_binary_cross_entropy_counts_each_class_by_itself(
    weight: Any, pos_weight: Any, shape: tuple[int, ...]
) -> None:
    logits = logits_of(*shape)
    targets = (logits_of(*shape) * 7 % 2 > 1).long()
    terms = []
    for scores, truth in zip(
        logits.detach().movedim(1, -1).reshape(-1, CLASSES).tolist(),
        targets.movedim(1, -1).reshape(-1, CLASSES).tolist(),
        strict=True,
    ):
        for index, (score, label) in enumerate(zip(scores, truth, strict=True)):
            p = 1 / (1 + math.exp(-score))
            positive = 1.0 if pos_weight is None else pos_weight[index]
            term = -(positive * label * math.log(p) + (1 - label) * math.log(1 - p))
            terms.append(term * (1.0 if weight is None else weight[index]))
    loss = BCEWithLogits(weight, pos_weight)(logits, targets)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-6)
    assert BCEWithLogits(reduction="none")(logits, targets).shape == shape


def test_binary_cross_entropy_takes_one_label_per_sample() -> None:
    logits, labels = logits_of(4, CLASSES), labels_of(4)
    one_hot = nn.functional.one_hot(labels, CLASSES)
    loss = BCEWithLogits(weight=2.0)
    torch.testing.assert_close(loss(logits, labels), loss(logits, one_hot))


def dice_by_hand(logits: Tensor, labels: Tensor, smooth: float) -> list[float]:
    found = []
    for c in range(CLASSES):
        overlap = predicted = true = 0.0
        for scores, label in rows(logits, labels):
            if label != -100:
                overlap += softmax(scores)[c] * (label == c)
                predicted += softmax(scores)[c]
                true += label == c
        found.append((2 * overlap + smooth) / (predicted + true + smooth))
    return found


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("smooth", [1.0, 0.01])
def test_dice_loss_is_one_minus_the_mean_overlap(ignored: bool, smooth: float) -> None:
    logits, labels = logits_of(2, CLASSES, 3, 4), labels_of(2, 3, 4, ignored=ignored)
    dice = dice_by_hand(logits, labels, smooth)
    assert DiceLoss(smooth)(logits, labels).item() == pytest.approx(1 - sum(dice) / CLASSES)
    weighted = DiceLoss(smooth, weight=[1.0, 2.0, 5.0])(logits, labels)
    expected = 1 - (dice[0] + 2 * dice[1] + 5 * dice[2]) / 8
    assert weighted.item() == pytest.approx(expected)


def test_dice_loss_takes_one_hot_targets() -> None:
    logits, labels = logits_of(2, CLASSES, 4), labels_of(2, 4)
    one_hot = nn.functional.one_hot(labels, CLASSES).movedim(-1, 1)
    torch.testing.assert_close(DiceLoss()(logits, labels), DiceLoss()(logits, one_hot))


def test_dice_loss_of_one_class_is_a_sigmoid() -> None:
    logits = logits_of(2, 1, 5)
    labels = (labels_of(2, 5) > 0).long()
    p, g = logits.sigmoid().squeeze(1), labels.double()
    expected = 1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)
    torch.testing.assert_close(DiceLoss()(logits, labels), expected)
    torch.testing.assert_close(DiceLoss()(logits, labels.unsqueeze(1)), expected)


def test_dice_loss_of_many_pixels_does_not_overflow_in_half_precision() -> None:
    logits = torch.zeros(1, 1, 300_000, dtype=torch.float16)
    loss = DiceLoss()(logits, torch.ones(1, 300_000, dtype=torch.long))
    assert loss.item() == pytest.approx(1 - 300_001 / 450_001, rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5]])
def test_cross_entropy_is_a_weighted_mean_over_what_is_not_ignored(
    weight: Any, smoothing: float
) -> None:
    logits, labels = logits_of(4, CLASSES, 2), labels_of(4, 2, ignored=True)
    each = weight or [1.0] * CLASSES
    total = over = 0.0
    for scores, label in rows(logits, labels):
        if label != -100:
            logs = [weight * math.log(p) for weight, p in zip(each, softmax(scores), strict=True)]
            total -= (1 - smoothing) * logs[label] + smoothing * sum(logs) / CLASSES
            over += each[label]
    criterion = get_criterion("CELoss", CLASSES, weight, label_smoothing=smoothing).double()
    assert criterion(logits, labels).item() == pytest.approx(total / over, rel=1e-12)


WEIGHT = [1.0, 2.0, 0.5]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CELoss", {}),
        ("CELoss", {"class_weight": WEIGHT, "label_smoothing": 0.1}),
        ("FocalLoss", {}),
        ("FocalLoss", {"class_weight": WEIGHT, "gamma": 0.5}),
        ("FocalLoss", {"reduction": "sum", "gamma": 1.0}),
        ("LabelSmoothing", {}),
        ("BCE", {}),
        ("BCE", {"class_weight": WEIGHT, "pos_weight": [3.0, 1.0, 0.5]}),
        ("Dice", {}),
        ("Dice", {"class_weight": WEIGHT, "smooth": 0.1}),
        ("L1Loss", {}),
        ("SmoothL1", {"beta": 0.5}),
        ("mse", {}),
    ],
)
def test_gradients_are_those_of_the_loss(name: str, options: dict[str, Any]) -> None:
    logits = logits_of(2, CLASSES, 2)
    if name in ("BCE", "L1Loss", "SmoothL1", "mse"):
        targets = (logits.detach() * 3 % 1).round()
    else:
        targets = labels_of(2, 2, ignored=True)
    criterion = get_criterion(name, **options).double()
    assert torch.autograd.gradcheck(lambda scores: criterion(scores, targets), (logits,))


@pytest.mark.parametrize("name", ["CELoss", "FocalLoss", "Dice", "BCE"])
def test_gradients_of_mixed_targets_are_those_of_the_loss(name: str) -> None:
    logits, criterion = logits_of(3, CLASSES), get_criterion(name)
    shares = logits_of(3, CLASSES).detach().softmax(1)
    assert torch.autograd.gradcheck(lambda scores: criterion(scores, shares), (logits,))


def test_gradients_of_a_sum_of_losses_are_those_of_its_sum() -> None:
    logits, labels = logits_of(3, CLASSES, 2), labels_of(3, 2)
    criterion = get_criterion({"CELoss": 0.7, "Dice": 2.0}, CLASSES, WEIGHT).double()
    assert torch.autograd.gradcheck(
        lambda scores: sum(criterion(scores, labels).values()), (logits,)
    )


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("L1Loss", abs),
        ("mse", lambda d: d * d),
        ("SmoothL1", lambda d: d * d / 2 if abs(d) < 1 else abs(d) - 0.5),
    ],
)
def test_losses_of_numbers_are_means_over_all(name: str, by_hand: Any) -> None:
    outputs, targets = logits_of(4, 2), logits_of(4, 2).flip(0) * 2
    differences = (outputs - targets).flatten().tolist()
    expected = sum(by_hand(one) for one in differences) / len(differences)
    assert get_criterion(name)(outputs, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FocalLoss(gamma=-1.0), "gamma=-1.0: write 0"),
        (lambda: FocalLoss(alpha=[-1.0]), "must be numbers of 0 or more"),
        (lambda: FocalLoss(alpha="much"), "must be a list of numbers"),  # type: ignore[arg-type]
        (lambda: FocalLoss(reduction="max"), "write 'mean', 'sum' or 'none'"),
        (lambda: DiceLoss(smooth=0.0), "smooth=0.0: write a number above 0"),
        (lambda: BCEWithLogits(weight=[[1.0]]), "in one row"),  # type: ignore[list-item]
    ],
)
def test_what_cannot_be_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
