"""Pure functions over outputs, labels and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def confusion_counts(
    predicted: Tensor, labels: Tensor, num_classes: int, into: Tensor | None = None
) -> Tensor:
    """Count how often each class was taken for each other.

    Args:
        predicted: Class indices, shape ``(N,)``.
        labels: Class indices, shape ``(N,)``; negative ones (ignored samples) do not count.
        num_classes: C.
        into: What an earlier call returned, to be added to in place: then the cost does not grow
            with C.

    Returns:
        int64, shape ``(C, C)``; row = label, column = prediction.

    Raises:
        IndexError: If an index is C or larger.
    """
    if into is None:
        # An ordinary tensor also within an evaluation, so that it can be added to after it.
        with torch.inference_mode(mode=False):
            into = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=labels.device)
    places = labels.long() * num_classes + predicted.long()
    # Ignored samples add 0 to the first place: no host read decides how many there are.
    is_counted = (labels >= 0).long()
    into.view(-1).index_add_(0, places * is_counted, is_counted)
    return into


def topk_hits(logits: Tensor, labels: Tensor, ks: Sequence[int]) -> list[Tensor]:
    """Tell for each ``k`` which samples have their label among the ``k`` highest logits.

    Args:
        logits: Shape ``(N, C)``.
        labels: Class indices, shape ``(N,)``; negative ones (ignored samples) are no hits.
        ks: Each ``1 <= k <= C``; none costs nothing.

    Returns:
        A boolean tensor of shape ``(N,)`` for each ``k``.
    """
    if not ks:
        return []
    is_label = logits.topk(max(ks), dim=1).indices == labels.unsqueeze(1)
    return [is_label[:, :k].any(1) for k in ks]


def class_scores(matrix: Tensor) -> dict[str, Tensor]:
    """Return precision, recall, F1 and support of each class.

    Args:
        matrix: Confusion matrix, shape ``(C, C)``; row = label, column = prediction.

    Returns:
        float64 tensors of shape ``(C,)``, scores between 0 and 1; where a class was never
        predicted (or is absent) its precision (or recall) is 0, as in scikit-learn's report.
    """
    hits = matrix.diagonal().double()
    predicted = matrix.sum(0).double()
    support = matrix.sum(1).double()
    precision = hits / predicted.clamp(min=1)
    recall = hits / support.clamp(min=1)
    f1 = 2 * hits / (predicted + support).clamp(min=1)
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}


def accuracy(matrix: Tensor) -> float | None:
    """Return the share of hits, between 0 and 1; None for an empty matrix."""
    total = int(matrix.sum())
    return int(matrix.diagonal().sum()) / total if total else None


def report(matrix: Tensor, names: list[str]) -> str:
    """Return a table of precision, recall, F1 and support per class, and their means.

    Args:
        matrix: Confusion matrix, shape ``(C, C)``.
        names: C class names.
    """
    scores = class_scores(matrix)
    columns = ("precision", "recall", "f1")
    support = scores["support"]
    total = max(float(support.sum()), 1.0)
    width = max(12, *(len(name) for name in names))
    lines = [f"{'':>{width}}" + "".join(f"{column:>11}" for column in (*columns, "support"))]
    for index, name in enumerate(names):
        row = "".join(f"{float(scores[column][index]):>11.4f}" for column in columns)
        lines.append(f"{name:>{width}}{row}{int(support[index]):>11}")
    macro = "".join(f"{float(scores[column].mean()):>11.4f}" for column in columns)
    weighted = "".join(
        f"{float((scores[column] * support).sum() / total):>11.4f}" for column in columns
    )
    lines.append(f"{'macro avg':>{width}}{macro}{int(support.sum()):>11}")
    lines.append(f"{'weighted avg':>{width}}{weighted}{int(support.sum()):>11}")
    lines.append(f"{'accuracy':>{width}}{(accuracy(matrix) or 0.0):>11.4f}")
    return "\n".join(lines)
