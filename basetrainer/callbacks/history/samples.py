"""The first test images and what they were taken for, held until a picture is drawn of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from basetrainer.config.settings import get
from basetrainer.utils.batches import images_of, labels_of, logits_of

MOST = 16
"""How many images are held of one test set."""

_SIDE = 256
"""Pixels of the longer side; of larger images only every so many are held."""


class SampleCollector:
    """Holds the first images of test batches that are spread over the whole set.

    The first batch alone would often show one class: folders of images come class by class.

    Args:
        num_batches: Batches of the test set; 0 if that is not known.
    """

    def __init__(self, num_batches: int) -> None:
        self.held: list[Samples] = []
        self._every = max(1, num_batches // MOST)
        self._each = -(-MOST // -(-num_batches // self._every)) if num_batches else MOST
        self._missing = MOST

    def see(self, batch: int, inputs: Any, outputs: Any) -> None:
        """Hold images of a batch, if it is one of those; nothing is read on the host."""
        if batch % self._every or self._missing <= 0:
            return
        samples = Samples.of(inputs, outputs, min(self._each, self._missing))
        if samples is not None:
            self.held.append(samples)
            self._missing -= len(samples.labels)


@dataclass(frozen=True)
class Samples:
    """Some test images, as the model got them, on its device.

    Attributes:
        images: Shape ``(N, C, H, W)``; large ones are thinned out.
        labels: Class indices, shape ``(N,)``.
        predicted: Likewise.
    """

    images: Tensor
    labels: Tensor
    predicted: Tensor

    @classmethod
    def of(cls, inputs: Any, outputs: Any, most: int) -> Samples | None:
        """Hold the first samples of a test batch; None if it is no batch of labelled images."""
        images, logits = images_of(inputs), logits_of(outputs)
        try:
            labels = labels_of(inputs)
        except (LookupError, TypeError):
            return None
        if (
            images is None
            or not isinstance(logits, Tensor)
            or not isinstance(labels, Tensor)
            or logits.ndim != 2
            or labels.shape != logits.shape[:1]
            or len(images) != len(labels)
        ):
            return None
        every = -(-max(images.shape[2:]) // _SIDE)
        first = images[:most, :, ::every, ::every].detach().clone()
        return cls(first, labels[:most].detach().clone(), logits[:most].detach().argmax(1))

    def pixels(self, mean_and_std: tuple[Any, Any] | None) -> NDArray[np.float32]:
        """Return the images as people see them: shape ``(N, H, W, C)``, between 0 and 1.

        Args:
            mean_and_std: What they were normalised with, one figure per channel. Without it the
                range is taken from the values: 0 to 1, 0 to 255, or each image's own.
        """
        images = self.images.float().cpu()
        if self.images.dtype == torch.uint8:
            images = images / 255
        elif mean_and_std is not None:
            mean, std = (
                torch.as_tensor(one, dtype=torch.float32).cpu().reshape(-1, 1, 1)
                for one in mean_and_std
            )
            images = images * std + mean
        elif images.min() < 0:
            low = images.amin((1, 2, 3), keepdim=True)
            images = (images - low) / (images.amax((1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
        elif images.max() > 1:
            images = images / 255
        found: NDArray[np.float32] = images.clamp(0, 1).permute(0, 2, 3, 1).numpy()
        return found


def normalisation_of(loader: Any, cfg: Any) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return the mean and standard deviation that a loader's images were normalised with.

    They are those of the last step of the dataset's ``transform`` that has a ``mean`` and a
    ``std``; without one, the settings ``rgb_mean`` and ``rgb_std``. None if there are neither.
    """
    dataset: Any = getattr(loader, "dataset", None)
    while hasattr(dataset, "dataset"):  # a Subset
        dataset = dataset.dataset
    steps = [one for one in _steps(getattr(dataset, "transform", None)) if _normalises(one)]
    if steps:
        return steps[-1].mean, steps[-1].std
    mean, std = get(cfg, "rgb_mean"), get(cfg, "rgb_std")
    return (mean, std) if mean and std and max(*mean, *std) <= 1 else None


def _steps(transform: Any) -> Iterator[Any]:
    """Yield a transform and all that it is made of."""
    if isinstance(transform, nn.Module):
        yield from transform.modules()
    elif transform is not None:
        yield transform
    inner = getattr(transform, "transforms", None)  # torchvision's Compose
    for one in inner if isinstance(inner, (list, tuple)) else ():
        yield from _steps(one)


def _normalises(step: Any) -> bool:
    mean, std = getattr(step, "mean", None), getattr(step, "std", None)
    return isinstance(mean, (list, tuple, Tensor)) and isinstance(std, (list, tuple, Tensor))
