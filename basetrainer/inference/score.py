"""score: how well a loaded network does on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from basetrainer.data.loader import build_dataloader
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.errors import ConfigError
from basetrainer.inference.load_model import LoadedModel, StrPath
from basetrainer.metric.functional import accuracy, class_scores, confusion_counts, report


@dataclass(frozen=True)
class Score:
    """What a network made of labelled images."""

    matrix: Tensor
    """Counts, shape ``(C, C)``: row = label, column = prediction."""

    class_names: list[str]

    def figures(self) -> dict[str, Any]:
        """Return accuracy in percent, the number of images, and the scores of each class."""
        scores = class_scores(self.matrix)
        return {
            "accuracy": 100.0 * (accuracy(self.matrix) or 0.0),
            "images": int(self.matrix.sum()),
            "classes": {
                name: {kind: float(values[index]) for kind, values in scores.items()}
                for index, name in enumerate(self.class_names)
            },
        }

    def __str__(self) -> str:
        return report(self.matrix, self.class_names)


def score(
    loaded: LoadedModel,
    data: StrPath | Sequence[StrPath],
    batch_size: int = 64,
    num_workers: int = 0,
    *,
    root: StrPath | None = None,
) -> Score:
    """Test a network on labelled images.

    Args:
        loaded: From :func:`~basetrainer.inference.load_model.load_model`.
        data: Folders of class folders, or lists; see ``open_dataset``.
        batch_size: Images that go through the network at once.
        num_workers: Loader processes.
        root: Where relative paths of lists start.

    Raises:
        ConfigError: If the data is not there, or has several labels an image.
        DataError: If an image cannot be read.
    """
    names = loaded.class_names or None
    dataset = open_dataset(data, loaded.preprocessing, class_names=names, root=root)
    if dataset.index.multi_label:
        raise ConfigError(f"{data} has several labels an image; only one class each is scored.")
    loader = build_dataloader(dataset, batch_size, num_workers, False, "test", distributed=False)
    matrix: Tensor | None = None
    for images, labels in loader:
        logits = loaded.logits(images)
        counts = confusion_counts(logits.argmax(1), labels, logits.shape[1])
        matrix = counts if matrix is None else matrix + counts
    if matrix is None:
        raise ConfigError(f"{data} has no images.")
    return Score(matrix.cpu(), [loaded.class_name(one) for one in range(len(matrix))])
