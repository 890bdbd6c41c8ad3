"""ImageDataset: the images of an index, decoded, transformed and labelled."""

from __future__ import annotations

import itertools
import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from basetrainer.datasets.decode import read_pil, read_tensor, to_pil
from basetrainer.datasets.index import ImageIndex
from basetrainer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

Transform: TypeAlias = Callable[[Any], Any]
OnBroken: TypeAlias = Literal["raise", "skip"]


class ImageCache(Protocol):
    """Holds the images of a dataset as they are after the first steps of a transform."""

    @abstractmethod
    def rest_of(self, transform: Transform | None) -> tuple[bool, Transform | None]:
        """Return whether the images serve a transform, and what of it is still to be done."""

    @abstractmethod
    def read(self, place: int) -> Tensor | None:
        """Return an image, uint8, shape ``(3, H, W)``; None if it is known to be broken."""


class ImageDataset(Dataset[tuple[Any, Any]]):
    """Items ``(image, label)`` of an index.

    The image is a uint8 RGB tensor of shape ``(3, H, W)``, or what ``transform`` makes of it. The
    label is an int, for multi-label a float32 tensor of zeros and ones, shape ``(C,)``. Nothing
    random happens here: all draws are the transform's.

    Args:
        index: Paths and labels.
        transform: Called with the image.
        as_pil: Whether ``transform`` gets a Pillow image instead of a tensor. None: exactly when it
            is one of torchvision's first generation (``torchvision.transforms``, not ``.v2``).
        on_broken: What a missing or unreadable image does. "raise" raises. "skip" gives the next
            readable sample of the index in its place, with that one's label, logs a warning once
            per file and counts it in ``num_broken``.

    Attributes:
        transform: As given; may be replaced between epochs.
        cache: Where images are read from while it serves the transform; None is their files. See
            :func:`~basetrainer.data.disk_cache.cache_images`.
    """

    def __init__(
        self,
        index: ImageIndex,
        transform: Transform | None = None,
        *,
        as_pil: bool | None = None,
        on_broken: OnBroken = "raise",
    ) -> None:
        if on_broken not in ("raise", "skip"):
            raise ConfigError(f"on_broken={on_broken!r}: it must be 'raise' or 'skip'.")
        self.index = index
        self.transform = transform
        self.cache: ImageCache | None = None
        self._as_pil = as_pil
        # Which files are known to be broken; shared, so that what loader workers meet counts too.
        self._broken = torch.zeros(len(index), dtype=torch.bool) if on_broken == "skip" else None
        if self._broken is not None:
            self._broken.share_memory_()
        self._told = [0]  # in a list, since loader workers start again when an attribute is set

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return image and label of a sample; negative indices count from the end."""
        index = range(len(self))[index]
        if self._broken is None:
            image = self.read(index)
        else:
            index, image = self._next_readable(index, self._broken)
        transform = self.transform
        if self.cache is not None:
            serves, rest = self.cache.rest_of(transform)
            transform = rest if serves else transform
        if transform is not None:
            image = transform(image)
        return image, self.label(index)

    def read(self, index: int) -> Tensor | Image:
        """Return the image of a sample as it goes into the transform.

        Overridden by whoever holds decoded images; ``__getitem__`` does the rest.

        Raises:
            DataError: If the file is missing or broken; names it, the reason and who lists it.
        """
        try:
            image = self._cached(index)
            if image is not None:
                return image
            path = self.index.path(index)
            return read_pil(path) if self.as_pil else read_tensor(path)
        except DataError as error:
            mend = "Mend or remove it; 'basetrainer check' finds all such files"
            mend += "." if self.on_broken == "skip" else ", on_broken='skip' leaves them out."
            where = self.index[index].where
            raise DataError(f"{error} It is sample {index}, from {where}. {mend}") from None

    def label(self, index: int) -> int | Tensor:
        """Return the label of a sample: an int, or float32 of shape ``(C,)``."""
        if self.index.multi_label:
            return torch.from_numpy(self.index.targets[index].astype(np.float32))
        return int(self.index.targets[index])

    def set_epoch(self, epoch: int) -> None:
        """Log how many images were skipped, if that has changed; the engine calls it.

        Loader workers that do not share this process's logger cannot say it themselves.
        """
        if self.num_broken > self._told[0]:
            self._told[0] = self.num_broken
            logger.warning(
                "%d of %d images of %s cannot be read and are skipped; 'basetrainer check' names "
                "them",
                self.num_broken,
                len(self),
                ", ".join(self.index.sources),
            )

    def _cached(self, index: int) -> Tensor | Image | None:
        """Return what ``read`` gives where the cache serves the transform."""
        if self.cache is None:
            return None
        serves, rest = self.cache.rest_of(self.transform)
        if not serves:
            return None
        image = self.cache.read(index)
        if image is None:
            raise DataError(f"{self.index.path(index)}: broken when the cache was built.")
        return to_pil(image) if self.as_pil and rest is self.transform else image

    def _next_readable(self, index: int, broken: Tensor) -> tuple[int, Any]:
        # No draw decides: the stand-in is the same in every epoch, worker and run.
        for place in itertools.chain(range(index, len(self)), range(index)):
            if broken[place]:
                continue
            try:
                return place, self.read(place)
            except DataError as error:
                broken[place] = True
                logger.warning("skipped: %s", error)
        raise DataError(
            f"None of the {len(self)} images of {', '.join(self.index.sources)} can be read: "
            "see the warnings above for the reasons."
        )

    @property
    def is_deterministic(self) -> bool:
        """Whether nothing is drawn for a sample, so that no generator need be seeded for it."""
        own = all(
            getattr(type(self), name) is getattr(ImageDataset, name)
            for name in ("__getitem__", "read", "label")
        )
        transform = self.transform
        return own and (transform is None or getattr(transform, "is_deterministic", None) is True)

    @property
    def as_pil(self) -> bool:
        """Whether the transform gets Pillow images."""
        return is_first_generation(self.transform) if self._as_pil is None else self._as_pil

    @property
    def on_broken(self) -> OnBroken:
        """What a missing or unreadable image does: as given."""
        return "raise" if self._broken is None else "skip"

    @property
    def num_broken(self) -> int:
        """How many unreadable files this process and its loader workers have skipped.

        With ``on_broken="skip"`` only; ``basetrainer check`` counts without training.
        """
        return 0 if self._broken is None else int(self._broken.sum())

    @property
    def class_names(self) -> list[str]:
        """The name of each class, in the order of their indices."""
        return list(self.index.classes.names)

    @property
    def num_classes(self) -> int:
        """How many classes there are, those without an image included."""
        return len(self.index.classes.names)

    @property
    def targets(self) -> NDArray[Any]:
        """Class indices, int64, shape ``(N,)``; for multi-label 0/1, uint8, shape ``(N, C)``."""
        return self.index.targets

    @property
    def paths(self) -> Sequence[str]:
        """The file of each sample."""
        return self.index.paths

    def __repr__(self) -> str:
        """Show sizes and sources."""
        kind = "multi-label, " if self.index.multi_label else ""
        return (
            f"{type(self).__name__}({len(self)} images, {kind}{self.num_classes} classes, "
            f"from {', '.join(self.index.sources)})"
        )


def is_first_generation(transform: object) -> bool:
    """Whether a transform is one of ``torchvision.transforms``, which expect Pillow images."""
    module = type(transform).__module__  # asked by name: nothing is imported for it
    return module.startswith("torchvision.transforms.") and not module.startswith(
        "torchvision.transforms.v2"
    )
