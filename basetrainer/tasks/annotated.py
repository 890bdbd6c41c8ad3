"""AnnotatedImages: a data set of annotated images, decoded and transformed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset

from basetrainer.datasets.decode import read_tensor
from basetrainer.datasets.image_dataset import OnBroken
from basetrainer.errors import ConfigError, DataError
from basetrainer.tasks.geometry import identity
from basetrainer.tasks.mask_files import MaskCoding, mask_of_outlines, read_mask
from basetrainer.tasks.sample import Sample, Samples

logger = logging.getLogger(__name__)

Target: TypeAlias = dict[str, Any]
Transform: TypeAlias = Callable[..., Any]


class AnnotatedImages(Dataset[tuple[Any, Any]]):
    """Items ``(image, target)`` of annotated images.

    The image is a uint8 RGB tensor of shape ``(3, H, W)``; the target a dict with ``image_id`` (the
    place in the data set), ``size`` (``[H, W]`` of the file) and ``matrix`` (float64, shape
    ``(2, 3)``, from the file's pixels to the image's), and what a task adds in :meth:`target`.
    Nothing random happens here: all draws are the transform's.

    Args:
        samples: The images.
        transform: Called with ``(image, target)``; returns both.
        on_broken: What a missing or unreadable image does: ``raise``, or ``skip``, which gives the
            next readable sample in its place and logs a warning once a file.

    Attributes:
        transform: As given; may be replaced between epochs.
        augments: Whether mixing with other images is on; data sets that mix look at it.
    """

    def __init__(
        self, samples: Samples, transform: Transform | None = None, *, on_broken: OnBroken = "raise"
    ) -> None:
        if on_broken not in ("raise", "skip"):
            raise ConfigError(f"on_broken: {on_broken!r} must be raise or skip.")
        self.samples = samples
        self.transform = transform
        self.on_broken = on_broken
        self.augments = True
        # Shared, so that what loader workers meet counts too.
        self._broken = torch.zeros(len(samples), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return image and target; negative indices count from the end."""
        image, target = self.load(range(len(self))[index])
        return (image, target) if self.transform is None else self.transform(image, target)

    def load(self, index: int) -> tuple[Tensor, Target]:
        """Return image and target as they are before the transform.

        Raises:
            DataError: If the file is missing or broken; names it and who lists it.
        """
        if self.on_broken == "raise":
            return self._load(index)
        for place in itertools.chain(range(index, len(self)), range(index)):
            if self._broken[place]:
                continue
            try:
                return self._load(place)
            except DataError as error:
                self._broken[place] = True
                logger.warning("skipped: %s", error)
        raise DataError(f"None of the {len(self)} images can be read: see the warnings above.")

    def target(self, sample: Sample, image: Tensor) -> Target:
        """Return what a task learns of an image; overridden by the data set of each task."""
        return {}

    def _load(self, index: int) -> tuple[Tensor, Target]:
        sample = self.samples[index]
        try:
            image = read_tensor(sample.path)
            target = self.target(sample, image)
        except DataError as error:
            fix = "Correct or remove it; 'basetrainer check' finds all such files."
            raise DataError(f"{error} It is sample {index}, from {sample.where}. {fix}") from None
        target["image_id"] = torch.tensor(index)
        target["size"] = torch.tensor(image.shape[-2:])
        target["matrix"] = torch.from_numpy(identity())
        return image, target

    @property
    def num_broken(self) -> int:
        """How many unreadable files this process and its loader workers have skipped."""
        return int(self._broken.sum())

    @property
    def class_names(self) -> list[str]:
        """The name of each class, in the order of their indices."""
        return list(self.samples.class_names)

    @property
    def num_classes(self) -> int:
        """How many classes there are, those without an object included."""
        return len(self.samples.class_names)

    @property
    def paths(self) -> list[str]:
        """The file of each image."""
        return self.samples.paths

    @property
    def is_deterministic(self) -> bool:
        """Whether nothing is drawn for a sample, so that no generator need be seeded for it."""
        own = type(self).__getitem__ is AnnotatedImages.__getitem__
        transform = self.transform
        return own and (transform is None or getattr(transform, "is_deterministic", None) is True)


class BoxImages(AnnotatedImages):
    """Images with boxes.

    The target has ``boxes`` (float32 XYXY in pixels of the image, shape ``(N, 4)``), ``labels``
    (int64), ``crowd`` and ``difficult`` (bool), ``area`` (float32, pixels of the file), each of
    shape ``(N,)``.
    """

    def target(self, sample: Sample, image: Tensor) -> Target:
        """Return boxes and what goes with them."""
        from torchvision import tv_tensors

        height, width = image.shape[-2:]
        return {
            "boxes": tv_tensors.BoundingBoxes(  # pyright: ignore[reportCallIssue] # it has __new__
                torch.from_numpy(sample.boxes).to(torch.float32),
                format="XYXY",
                canvas_size=(height, width),
            ),
            "labels": torch.from_numpy(sample.labels.copy()),
            "crowd": torch.from_numpy(sample.crowd.copy()),
            "difficult": torch.from_numpy(sample.difficult.copy()),
            "area": torch.from_numpy(sample.area).to(torch.float32),
        }


class MaskImages(AnnotatedImages):
    """Images with a class for each pixel: the target has ``mask``, uint8, shape ``(H, W)``.

    Args:
        samples: See :class:`AnnotatedImages`, also for ``transform`` and ``on_broken``.
        coding: What the pixels of mask files mean.
        background: The class of pixels without an object, where masks are drawn from outlines;
            -1: there is none, and they are ignored.
    """

    def __init__(
        self,
        samples: Samples,
        transform: Transform | None = None,
        *,
        coding: MaskCoding,
        background: int = 0,
        on_broken: OnBroken = "raise",
    ) -> None:
        super().__init__(samples, transform, on_broken=on_broken)
        self.coding = coding
        self.background = background

    def target(self, sample: Sample, image: Tensor) -> Target:
        """Return the mask, as classes."""
        from torchvision import tv_tensors

        if sample.mask_path is not None:
            mask = read_mask(sample.mask_path, self.coding)
            if mask.shape != image.shape[-2:]:
                height, width = mask.shape
                raise DataError(
                    f"{sample.mask_path}: the mask has {width}x{height} pixels, but its image "
                    f"{image.shape[-1]}x{image.shape[-2]}."
                )
        else:
            ignored = self.coding.ignore_index
            mask = mask_of_outlines(sample, background=self.background, ignore_index=ignored)
        return {"mask": tv_tensors.Mask(torch.from_numpy(mask))}
