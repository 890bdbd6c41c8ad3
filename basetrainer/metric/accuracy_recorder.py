"""AccuracyRecorder: accuracy per phase, report and confusion matrix of the evaluation."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basetrainer._logs import Logs, Metrics
from basetrainer.callbacks.recorder import Recorder, Tally
from basetrainer.distributed.context import DistContext
from basetrainer.errors import ConfigError, UsageError
from basetrainer.metric.functional import accuracy, confusion_counts, report, topk_hits
from basetrainer.utils.batches import labels_of, logits_of
from basetrainer.utils.file_utils import create_dir, write_or_warn
from basetrainer.utils.meters import Copies
from basetrainer.utils.monitor import Monitor

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

    def add(self, inputs: Any, outputs: Any, losses: Any, count: float | Tensor) -> None:
        """Hold one batch's logits and labels."""
        logits, labels = logits_of(outputs), labels_of(inputs)
        if self.is_empty:
            _check(logits, labels, self._topk)
        if labels.ndim > 1:  # each class's share, as MixUp and CutMix make them
            labels = labels.argmax(1)
        # Copies: nobody else writes to them, and of a view they are its own numbers alone.
        held = self._held
        if held is None or not (held[1].suits(labels) and held[0].append(logits)):
            held = self._make_room(logits, labels)
            held[0].append(logits)
        held[1].append(labels)

    def _make_room(self, logits: Tensor, labels: Tensor) -> tuple[Copies, Copies]:
        """Count what is held, and return what takes this batch."""
        self.settle()
        held = self._held
        if held is None or not (held[0].suits(logits) and held[1].suits(labels)):
            bytes_each = max(logits.nbytes + labels.nbytes, 1)
            room = max(1, min(_HELD_BATCHES, _HELD_BYTES // bytes_each))
            held = self._held = Copies(logits, room), Copies(labels, room)
        return held

    def settle(self) -> None:
        """Count what is held."""
        if self._held is None or not len(self._held[0]):
            return
        logits, labels = (one.take().flatten(0, 1) for one in self._held)
        labels = labels.to(logits.device)
        predicted, num_classes = logits.argmax(1), logits.shape[1]
        hits = [predicted == labels, *topk_hits(logits, labels, self._topk)]
        counts = torch.stack([one.sum() for one in ((labels >= 0), *hits)])
        self.counts = counts if self.counts is None else self.counts + counts
        if num_classes <= _MATRIX_CLASSES:
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
        return {"counts": self.counts, "matrix": self.matrix, "told": list(self._told)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.counts, self.matrix = state["counts"], state["matrix"]
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


class AccuracyRecorder(Recorder):
    """Writes the accuracy, in percent, into ``logs["train"|"test"][indicator]``.

    Labels are ``inputs["label"]`` of a dict batch, else ``inputs[1]``: class indices ``(N,)``, or
    each class's share ``(N, C)`` as MixUp makes it, of which the largest counts. Outputs are logits
    ``(N, C)``, or a tuple whose first entry they are. At the end of each evaluation precision,
    recall and F1 per class are logged, and ``matrix`` holds the confusion matrix.

    Args:
        target_names: The C class names, in the order of their indices, or a file with one a line.
        indicator: The figure's name.
        confusion_matrix: A folder that keeps ``confusion_matrix_EEE_V.VVVV.csv`` of the best epoch;
            "" keeps none. With several test sets each has a sub-folder of its name.
        topk: For each k of them ``INDICATOR_topK`` is the share of samples, in percent, whose
            label is among the k highest logits.

    Attributes:
        matrix: Confusion matrix of the last evaluation, of the first of several test sets; row =
            label, column = prediction.
        matrices: That of each test set by name; "" is the name of a single one.

    Raises:
        UsageError: At the first batch, if outputs are no logits or labels no indices.
    """

    def __init__(
        self,
        target_names: Sequence[str] | str | None = None,
        indicator: str = "Acc",
        confusion_matrix: str | os.PathLike[str] = "",
        *,
        topk: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if any(k < 1 for k in topk):
            raise ConfigError(f"AccuracyRecorder: topk={tuple(topk)} must be at least 1 each.")
        if isinstance(target_names, str):
            target_names = Path(target_names).read_text(encoding="utf-8").split()
        self.target_names = [str(name) for name in target_names or ()]
        self.indicator = indicator
        self.confusion_matrix = os.fspath(confusion_matrix)
        self.topk = list(dict.fromkeys(topk))
        self.matrices: dict[str, Tensor] = {}
        self.logger = logging.getLogger(__name__)
        self._monitors: dict[str, Monitor] = {}
        self._kept: dict[str, Path] = {}
        self._epoch = 0

    def new_tally(self) -> Tally:
        """Return an empty confusion matrix."""
        return ConfusionTally(self.indicator, self.topk)

    @property
    def matrix(self) -> Tensor | None:
        """The confusion matrix of the last evaluation."""
        return next(iter(self.matrices.values()), None)

    def class_names(self, num_classes: int) -> list[str]:
        """Return a name for each class; its index where none was given."""
        given = self.target_names
        return [*given[:num_classes], *(str(index) for index in range(len(given), num_classes))]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch, for the name of the file."""
        self._epoch = epoch
        super().on_epoch_begin(epoch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Log the report, and keep the confusion matrix of the best epoch."""
        tally = self._tallies.get("test")
        super().on_test_end(logs)
        if not isinstance(tally, ConfusionTally) or tally.matrix is None:
            return
        name = self.engine.test_set if self.engine is not None else ""
        matrix = self.matrices[name] = tally.matrix.cpu()
        if not self.is_main_process:
            return
        figure = 100.0 * (accuracy(matrix) or 0.0)
        title = f"{name}/{self.indicator}" if name else self.indicator
        table = report(matrix, self.class_names(len(matrix)))
        self.logger.info("%s: %.4f\n%s", title, figure, table, extra={"file_only": True})
        monitor = self._monitors.setdefault(name, Monitor(self.indicator))
        if self.confusion_matrix and monitor.is_new_best(figure, self._epoch):
            self._write_matrix(name, matrix, figure)

    def state_dict(self) -> dict[str, Any]:
        """Return what was counted, and the best figures so far with the files of their matrices."""
        return {
            **super().state_dict(),
            "best": {name: monitor.state_dict() for name, monitor in self._monitors.items()},
            "kept": {name: path.name for name, path in self._kept.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        for name, best in state["best"].items():
            self._monitors[name] = Monitor(self.indicator)
            self._monitors[name].load_state_dict(best)
        folder = Path(self.confusion_matrix)
        self._kept = {name: folder / name / Path(file).name for name, file in state["kept"].items()}

    def _write_matrix(self, test_set: str, matrix: Tensor, figure: float) -> None:
        """Write the matrix, then remove the one that it replaces."""
        names = self.class_names(len(matrix))
        folder = Path(create_dir(Path(self.confusion_matrix, test_set)))
        path = folder / f"confusion_matrix_{self._epoch:03d}_{figure:.4f}.csv"
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["label\\prediction", *names])
        for name, row in zip(names, matrix.tolist(), strict=True):
            writer.writerow([name, *row])
        if not write_or_warn(path, text.getvalue()):
            return
        before = self._kept.get(test_set)
        if before is not None and before != path:
            before.unlink(missing_ok=True)
        self._kept[test_set] = path


def _check(logits: Any, labels: Any, topk: Sequence[int]) -> None:
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
