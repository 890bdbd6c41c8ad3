"""ConfusionTally: what AccuracyRecorder counts in one phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from basetrainer._logs import Metrics
from basetrainer.callbacks.recorder import Tally
from basetrainer.distributed.context import DistContext
from basetrainer.errors import UsageError
from basetrainer.metric.functional import confusion_counts, topk_hits
from basetrainer.utils.batches import labels_of, logits_of
from basetrainer.utils.meters import Copies

_HELD_BYTES = 1 << 20
"""How many bytes of outputs and labels are held before they are counted; a batch may have more."""

_HELD_BATCHES = 64
"""How many batches are held at most."""

_MATRIX_CLASSES = 2048
"""Up to how many classes there is a confusion matrix; it then takes 32 MiB."""


class ConfusionTally(Tally):
    """Hits and, unless there are too many classes, a confusion matrix.

    Its cost does not depend on how many samples were seen. Small outputs are copied and held, and
    counted together; nothing is read on the host before the figures are.
    """

    weighs = False

    def __init__(self, indicator: str, topk: Sequence[int] = ()) -> None:
        self.counts: Tensor | None = None  # samples, hits, hits among the first k
        self.matrix: Tensor | None = None
        self._topk = list(topk)
        self._names = [indicator, *(f"{indicator}_top{k}" for k in topk)]
        self._told: list[int] = []  # the counts when recent() was last called
        self._held: tuple[Copies, Copies] | None = None  # logits, labels
        self._last_unlike: torch.Size | None = None  # shape of the last logits not like the held

    def add(self, inputs: Any, outputs: Any, losses: Any, count: float | Tensor) -> None:
        """Hold one batch's logits and labels."""
        logits, labels = logits_of(outputs), labels_of(inputs)
        if self.is_empty:
            check_batch(logits, labels, self._topk)
        if labels.ndim > 1:  # each class's share, as MixUp and CutMix make them
            labels = labels.argmax(1)
        # Copies: nobody else writes to them, and of a view they are its own numbers alone.
        held = self._held
        if held is not None and held[1].suits(labels) and held[0].append(logits):
            held[1].append(labels)
        else:
            self._add_another(logits, labels)

    def _add_another(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch for which there is no room, or that is unlike those that are held."""
        self.settle()
        held, shape = self._held, logits.shape
        if held is None or not (held[0].is_like(logits) and held[1].is_like(labels)):
            bytes_each = max(logits.nbytes + labels.nbytes, 1)
            room = min(_HELD_BATCHES, _HELD_BYTES // bytes_each)
            # A buffer is worth its making only for batches that come again and again.
            comes_again = held is None or shape == self._last_unlike
            self._last_unlike = shape
            if room < 2 or not comes_again:
                self._count(logits.detach(), labels.to(logits.device))
                return
            held = self._held = Copies(logits, room), Copies(labels, room)
        held[0].append(logits)
        held[1].append(labels)

    def settle(self) -> None:
        """Count what is held."""
        if self._held is not None and len(self._held[0]):
            logits, labels = (one.take().flatten(0, 1) for one in self._held)
            self._count(logits, labels.to(logits.device))

    def _count(self, logits: Tensor, labels: Tensor) -> None:
        """Add the counts of some logits ``(N, C)`` and labels ``(N,)``."""
        predicted, num_classes = logits.argmax(1), logits.shape[1]
        hits = [predicted == labels, *topk_hits(logits, labels, self._topk)]
        counts = torch.stack([one.sum() for one in ((labels >= 0), *hits)])
        if self.counts is not None:  # those of a checkpoint are on the host
            counts = self.counts.to(counts.device) + counts
        self.counts = counts
        if num_classes <= _MATRIX_CLASSES:
            if self.matrix is not None:
                self.matrix = self.matrix.to(logits.device)
            self.matrix = confusion_counts(predicted, labels, num_classes, self.matrix)

    def reduce(self, context: DistContext) -> None:
        """Add the counts of all ranks."""
        self.settle()
        size = max(context.gather(0 if self.matrix is None else len(self.matrix)))
        if self.counts is None:  # a rank that had no batch
            self.counts = torch.zeros(
                1 + len(self._names), dtype=torch.int64, device=context.device
            )
        self.counts = context.sum(self.counts)
        if size:
            if self.matrix is None:
                self.matrix = torch.zeros((size, size), dtype=torch.int64, device=context.device)
            self.matrix = context.sum(self.matrix)

    def take_in(self, other: Tally) -> None:
        """Add the counts of another tally."""
        if not isinstance(other, ConfusionTally) or other.counts is None:
            return
        self.counts = other.counts if self.counts is None else self.counts + other.counts
        if other.matrix is not None:
            self.matrix = other.matrix if self.matrix is None else self.matrix + other.matrix
        told = zip(self._told, other._told, strict=True) if self._told else ()
        self._told = [one + more for one, more in told] or list(other._told)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, and those that were told."""
        self.settle()
        both = self.counts, self.matrix
        counts, matrix = (one.clone() if one is not None else None for one in both)
        return {"counts": counts, "matrix": matrix, "told": list(self._told)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        counts, matrix = state["counts"], state["matrix"]
        self.counts = counts.clone() if counts is not None else None
        self.matrix = matrix.clone() if matrix is not None else None  # it is counted on in place
        self._told = list(state["told"])

    def figures(self) -> Metrics:
        """Return the accuracy in percent."""
        self.settle()
        return self._shares([0] if self.counts is None else self.counts.tolist())

    def recent(self) -> Metrics:
        """Return the accuracy of the samples since the last call."""
        self.settle()
        counts = [0] if self.counts is None else self.counts.tolist()
        told, self._told = self._told or [0] * len(counts), counts
        return self._shares([one - before for one, before in zip(counts, told, strict=True)])

    def _shares(self, counts: Sequence[int]) -> Metrics:
        total, *hits = counts
        shares = [100.0 * one / total for one in hits] if total else []
        return dict(zip(self._names, shares, strict=False))


def check_batch(logits: Any, labels: Any, topk: Sequence[int]) -> None:
    """Say what is wrong with the first batch."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"AccuracyRecorder needs logits of shape (samples, classes) as outputs of run_step, "
            f"but got {shape}."
        )
    are_shares = isinstance(labels, Tensor) and labels.shape == logits.shape
    if are_shares and not ((labels.sum(1) - 1).abs() < 1e-2).all():  # half precision included
        raise UsageError(
            "AccuracyRecorder counts one class per sample, but these labels have several or none "
            "(their rows do not sum to 1). Leave it out for data of several labels."
        )
    if not isinstance(labels, Tensor) or not (are_shares or labels.shape == logits.shape[:1]):
        shape = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise UsageError(
            f"AccuracyRecorder needs one class index per sample, shape ({len(logits)},), as "
            f"labels, but got {shape}."
        )
    if topk and max(topk) > logits.shape[1]:
        raise UsageError(
            f"AccuracyRecorder: topk={tuple(topk)} asks for the first {max(topk)} guesses, but "
            f"there are only {logits.shape[1]} classes."
        )
