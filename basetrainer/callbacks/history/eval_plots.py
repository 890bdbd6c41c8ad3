"""Scene: what an evaluation left to draw, confusion matrices and test images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from basetrainer._epochs import epoch_number
from basetrainer.callbacks.history.samples import Samples, normalisation_of
from basetrainer.config.settings import get
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.plots.canvas import png
from basetrainer.plots.confusion import draw_confusion
from basetrainer.plots.samples import draw_samples

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine


@runtime_checkable
class HasMatrices(Protocol):
    """A recorder of confusion matrices, such as AccuracyRecorder."""

    matrices: dict[str, Tensor]

    @abstractmethod
    def class_names(self, num_classes: int) -> list[str]:
        """Return a name for each class."""


@dataclass
class Scene:
    """What an evaluation left to draw, by the name of the test set.

    Attributes:
        epoch: Counts from 0.
        is_best: Whether it was the best epoch so far.
        matrices: Confusion matrices.
        samples: Test images, in parts.
        names: Returns the names of so many classes.
        normalisations: Mean and standard deviation of each set's images, where they are known.
    """

    epoch: int
    is_best: bool
    matrices: Mapping[str, Tensor]
    samples: Mapping[str, Sequence[Samples]]
    names: Callable[[int], Sequence[str]]
    normalisations: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, engine: Engine, epoch: int, samples: Mapping[str, Sequence[Samples]], *, is_best: bool
    ) -> Scene:
        """Gather what the callbacks of ``engine`` know after an evaluation."""
        source = next((one for one in engine.callbacks if isinstance(one, HasMatrices)), None)
        given = get(engine.cfg, "class_name")

        def names(count: int) -> Sequence[str]:
            indices = [str(index) for index in range(count)]
            found = source.class_names(count) if source is not None else indices
            if list(found) == indices and isinstance(given, (list, tuple)):
                found = [*map(str, given[:count]), *indices[len(given) :]]
            return found

        norms = {
            name: normalisation_of(loader, engine.cfg)
            for name, loader in named_test_sets(engine.test_loader).items()
        }
        matrices = dict(source.matrices) if source is not None else {}
        return cls(epoch, is_best, matrices, dict(samples), names, norms)

    def draw(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return PNG files by tag: the confusion matrices, and the test images."""
        about = f"epoch {epoch_number(self.epoch)}{', the best so far' if self.is_best else ''}"
        matrices, images = {}, {}
        for name, matrix in self.matrices.items():
            counts = matrix.numpy()
            total = int(counts.sum())
            share = 100.0 * counts.trace() / max(total, 1)
            title = f"{f'{name}, ' if name else ''}{about}: {share:.2f}% of {total} right"
            figure = draw_confusion(counts, self.names(len(counts)), title=title)
            matrices[_tag("confusion_matrix", name)] = png(figure)
        for name, parts in self.samples.items():
            labels = [label for part in parts for label in part.labels.tolist()]
            predicted = [guess for part in parts for guess in part.predicted.tolist()]
            norm = self.normalisations.get(name)
            pixels = [image for part in parts for image in part.pixels(norm)]
            names = self.names(1 + max(*labels, *predicted))
            title = f"{name or 'test'} images, {about}"
            figure = draw_samples(pixels, labels, predicted, names, title=title)
            images[_tag("test_images", name)] = png(figure)
        return matrices, images


def _tag(kind: str, test_set: str) -> str:
    return f"{kind}/{test_set}" if test_set else kind
