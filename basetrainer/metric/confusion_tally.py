"""ConfusionTally: what AccuracyRecorder counts in one phase."""

from __future__ import annotations

import logging
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

logger = logging.getLogger(__name__)

_HELD_BYTES = 1 << 20
"""How many bytes of outputs and labels are held before they are counted; a batch may have more."""

_HELD_BATCHES = 64
"""How many batches are held at most."""

_NUM_FAULTS = 4
"""Kinds of faults counted: labels beyond the classes, of several classes, no integers; NaN."""

_SEVERAL, _FRACTION = -(2**40), -(2**41)
"""In the place of labels that have several classes, and that are no whole numbers."""

_MATRIX_CLASSES = 2048
"""Up to how many classes there is a confusion matrix; it then takes 32 MiB."""


class ConfusionTally(Tally):
    """Hits and, unless there are too many classes, a confusion matrix.

    Its cost does not depend on how many samples were seen. Small outputs are copied and held, and
    counted together; nothing is read on the host before the figures are, not even whether labels
    are classes: those that are none are counted, and refused when the figures are read.
    """

    weighs = False

    def __init__(
        self, indicator: str, topk: Sequence[int] = (), ignore_index: int | None = None
    ) -> None:
        self.counts: Tensor | None = None  # samples, hits, hits among the first k, four faults
        self.matrix: Tensor | None = None
        self._topk = list(topk)
        self._ignored = ignore_index if ignore_index is not None and ignore_index >= 0 else None
        self._num_classes = 0
        self._largest: Tensor | None = None  # of the labels, for the message
        self._is_warned = False
        self._shapes: tuple[Any, Any] | None = None  # of the last batch that was looked at
        self._names = [indicator, *(f"{indicator}_top{k}" for k in topk)]
        self._told: list[int] = []  # the counts when recent() was last called
        self._held: tuple[Copies, Copies] | None = None  # logits, labels
        self._last_unlike: torch.Size | None = None  # shape of the last logits not like the held

    def add(self, inputs: Any, outputs: Any, losses: Any, count: float | Tensor) -> None:
        """Hold one batch's logits and labels."""
        logits, labels = logits_of(outputs), labels_of(inputs)
        shapes = getattr(logits, "shape", None), getattr(labels, "shape", None)
        if shapes != self._shapes:
            check_batch(logits, labels, self._topk)
            self._shapes = shapes
        if labels.ndim > 1 or labels.is_floating_point():
            labels = _indices(labels)
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
        highest, predicted = logits.max(1)
        num_classes = self._num_classes = logits.shape[1]
        labels = labels.long()
        faults = [labels == _SEVERAL, labels == _FRACTION]
        is_counted = labels >= 0
        if self._ignored is not None:
            is_counted &= labels != self._ignored
        is_class = is_counted & (labels < num_classes)
        is_nan = highest.isnan() & is_class  # it is the highest where there is one
        faults = [is_counted ^ is_class, *faults, is_nan]
        largest = torch.where(is_counted, labels, -1).amax() if len(labels) else None
        if largest is not None:
            before = self._largest
            self._largest = largest if before is None else largest.maximum(before.to(labels.device))
        # What is none of the classes, or has no prediction, is no hit and not in the matrix.
        labels = torch.where(is_class & ~is_nan, labels, -1)
        hits = [predicted == labels, *topk_hits(logits, labels, self._topk)]
        counts = torch.stack([one.sum() for one in (is_class, *hits, *faults)])
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
                1 + len(self._names) + _NUM_FAULTS, dtype=torch.int64, device=context.device
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
        return self._shares(self._read())

    def recent(self) -> Metrics:
        """Return the accuracy of the samples since the last call."""
        self.settle()
        counts = self._read()
        told, self._told = self._told or [0] * len(counts), counts
        return self._shares([one - before for one, before in zip(counts, told, strict=True)])

    def _read(self) -> list[int]:
        """Return the counts, after a look at what was wrong with labels and outputs.

        Raises:
            UsageError: If there were labels that are none of the classes.
        """
        if self.counts is None:
            return [0]
        counts: list[int] = self.counts.tolist()
        beyond, several, fractions, nans = counts[-_NUM_FAULTS:]
        if beyond:
            largest = "" if self._largest is None else f", the largest is {int(self._largest)}"
            raise UsageError(
                f"AccuracyRecorder: {beyond} labels are not among the {self._num_classes} classes "
                f"of the outputs, 0 to {self._num_classes - 1}{largest}. Correct the labels or the "
                f"number of classes; for labels to be left out, give "
                f"AccuracyRecorder(ignore_index=...)."
            )
        if several:
            raise UsageError(
                f"AccuracyRecorder counts one class per sample, but {several} samples have labels "
                f"of several or none (their rows do not sum to 1). Leave it out for data of "
                f"several labels."
            )
        if fractions:
            raise UsageError(
                f"AccuracyRecorder needs class indices as labels, but {fractions} of them are no "
                f"whole numbers. Leave it out for regression."
            )
        if nans and not self._is_warned:
            self._is_warned = True
            logger.warning(
                "%s: the outputs for %d samples are NaN; each counts as a miss.",
                self._names[0],
                nans,
            )
        return counts

    def _shares(self, counts: Sequence[int]) -> Metrics:
        total, *hits = counts
        shares = [100.0 * one / total for one in hits] if total else []
        return dict(zip(self._names, shares, strict=False))


def _indices(labels: Tensor) -> Tensor:
    """Return class indices ``(N,)`` for shares ``(N, C)``, a column ``(N, 1)``, or floats.

    What is no class becomes a negative number that says why.
    """
    if labels.ndim > 1 and labels.shape[1] > 1:  # as MixUp and CutMix make them
        is_share = (labels.sum(1) - 1).abs() < 1e-2  # half precision included
        return torch.where(is_share, labels.to(_comparable(labels)).argmax(1), _SEVERAL)
    labels = labels.flatten()
    if not labels.is_floating_point():
        return labels
    is_whole = (labels == labels.floor()) & labels.isfinite()
    return torch.where(is_whole, labels.long(), _FRACTION)


def _comparable(labels: Tensor) -> torch.dtype:
    """Return a dtype that has ``argmax``."""
    return torch.uint8 if labels.dtype is torch.bool else labels.dtype


def check_batch(logits: Any, labels: Any, topk: Sequence[int]) -> None:
    """Refuse outputs and labels of other shapes than those that can be counted."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"AccuracyRecorder needs logits of shape (samples, classes) as outputs of run_step, "
            f"but got {shape}."
        )
    if logits.shape[1] < 2:
        raise UsageError(
            f"AccuracyRecorder needs an output for each class, but got {tuple(logits.shape)}. For "
            f"two classes with one output between them return torch.cat([-logits, logits], dim=1) "
            f"from run_step, or write a callback of your own."
        )
    fits = isinstance(labels, Tensor) and (
        labels.shape in (logits.shape, logits.shape[:1], (len(logits), 1))
    )
    if not fits:
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
