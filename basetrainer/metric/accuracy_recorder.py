"""AccuracyRecorder: accuracy per phase, report and confusion matrix of the evaluation."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from basetrainer._logs import Logs
from basetrainer._monitor import Monitor
from basetrainer.callbacks.recorder import Recorder, Tally
from basetrainer.datasets.class_names import ClassList, ClassNames
from basetrainer.errors import ConfigError
from basetrainer.metric.confusion_tally import ConfusionTally
from basetrainer.metric.functional import report
from basetrainer.utils.file_utils import create_dir, write_or_warn


class AccuracyRecorder(Recorder):
    """Writes the accuracy, in percent, into ``logs["train"|"test"][indicator]``.

    Labels are ``inputs["label"]`` of a dict batch, else ``inputs[1]``: class indices ``(N,)`` or
    ``(N, 1)``, or each class's share ``(N, C)`` as MixUp makes it, of which the largest counts.
    Negative labels do not count. Outputs are logits or probabilities ``(N, C)`` with at least two
    classes, or a tuple whose first entry they are. A sample whose outputs have a NaN is a miss, and
    is not in the confusion matrix. At the end of each evaluation precision,
    recall and F1 per class are logged, and ``matrix`` holds the confusion matrix.

    Args:
        target_names: The C class names, in the order of their indices; a file with one a line, or
            a dict of name -> index.
        indicator: The figure's name.
        confusion_matrix: A folder that keeps ``confusion_matrix_EEE_V.VVVV.csv`` of the best epoch;
            "" keeps none. With several test sets each has a sub-folder of its name.
        topk: For each k of them ``INDICATOR_topK`` is the share of samples, in percent, whose
            label is among the k highest logits.
        ignore_index: Label of samples that do not count, besides negative ones; None takes the
            ``ignore_index`` of the criterion, if it has one.

    Attributes:
        matrix: Confusion matrix of the last evaluation, of the first of several test sets; row =
            label, column = prediction.
        matrices: That of each test set by name; "" is the name of a single one.

    Raises:
        ConfigError: If the class names cannot be read.
        UsageError: If the shapes of outputs and labels are not as above; at the next log point or
            the end of the epoch, if labels in any batch are none of the C classes.
    """

    def __init__(
        self,
        target_names: ClassNames | None = None,
        indicator: str = "Acc",
        confusion_matrix: str | os.PathLike[str] = "",
        *,
        topk: Sequence[int] = (),
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        if any(k < 1 for k in topk):
            raise ConfigError(f"AccuracyRecorder: topk={tuple(topk)} must be at least 1 each.")
        names: Iterable[str] = ()
        if isinstance(target_names, (str, os.PathLike, Mapping)):
            names = ClassList.read(target_names).names if target_names else ()
        elif target_names is not None:
            names = target_names
        self.target_names = [str(name) for name in names]
        self.indicator = indicator
        self.confusion_matrix = os.fspath(confusion_matrix)
        self.topk = list(dict.fromkeys(topk))
        self.ignore_index = ignore_index
        self.matrices: dict[str, Tensor] = {}
        self.logger = logging.getLogger(__name__)
        self._monitors: dict[str, Monitor] = {}
        self._kept: dict[str, Path] = {}
        self._epoch = 0

    def new_tally(self) -> Tally:
        """Return an empty confusion matrix."""
        ignored = self.ignore_index
        if ignored is None and self.engine is not None:
            ignored = getattr(self.engine.criterion, "ignore_index", None)
        return ConfusionTally(self.indicator, self.topk, ignored)

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
        figure = float(tally.figures().get(self.indicator, 0.0))  # matrix lacks NaN outputs
        title = f"{name}/{self.indicator}" if name else self.indicator
        table = report(matrix, self.class_names(len(matrix)))
        self.logger.info("%s: %.4f\n%s", title, figure, table, extra={"file_only": True})
        monitor = self._monitors.setdefault(name, Monitor(self.indicator, "max"))
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
            self._monitors[name] = Monitor(self.indicator, "max")
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
