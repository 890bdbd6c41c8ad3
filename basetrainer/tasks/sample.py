"""Sample: one annotated image, whatever format it was written in."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from basetrainer.datasets.path_table import LazySequence, PathTable
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.rle import RLE

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Polygons: TypeAlias = "tuple[Floats, ...]"
Outline: TypeAlias = "Polygons | RLE | None"
"""The shape of an object: polygons of shape ``(K, 2)`` that together cover it, a mask, or none."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and the objects in it; coordinates are pixels of the image as it is seen.

    Pixel i covers i to i + 1. An image with an EXIF orientation is turned first.

    Attributes:
        path: The image file.
        where: The file and line, or id, that names the image; for messages.
        size: ``(width, height)`` of the image.
        image_id: The id that its file gives it, else its place.
        boxes: ``x1, y1, x2, y2`` of each object, float64, shape ``(N, 4)``.
        labels: Class of each object, from 0, int64, shape ``(N,)``.
        crowd: Whether it stands for several objects, bool, shape ``(N,)``: not trained on, and
            ignored in AP.
        difficult: Whether it is marked as hard to see, bool, shape ``(N,)``: likewise.
        area: Pixels of each object, float64, shape ``(N,)``.
        ids: The id that its file gives each object, int64, shape ``(N,)``; -1 is none.
        outlines: The shape of each object, or None.
        points: ``x, y, visibility`` (0 not labelled, 1 hidden, 2 visible) of the key points of
            each object, float64, shape ``(N, K, 3)``; None in data without key points.
        mask_path: The file of the mask of the whole image, or None.
    """

    path: str
    where: str
    size: tuple[int, int]
    image_id: int
    boxes: Floats
    labels: Ints
    crowd: Flags
    difficult: Flags
    area: Floats
    ids: Ints
    outlines: tuple[Outline, ...]
    points: Floats | None = None
    mask_path: str | None = None

    @property
    def trained(self) -> Flags:
        """Which objects are trained on: neither crowds nor difficult ones."""
        return ~(self.crowd | self.difficult)


@dataclass
class Object:
    """One object as a reader found it, before it is checked.

    Attributes:
        where: Its line or id, for messages.
        label: The name of its class, or its number in the file.
        box: ``x1, y1, x2, y2``.
        is_normalised: Whether coordinates are parts of the image's width and height.
    """

    where: str
    label: str | int
    box: tuple[float, float, float, float] | None
    outline: Outline = None
    points: Sequence[Sequence[float]] | None = None
    crowd: bool = False
    difficult: bool = False
    area: float | None = None
    id: int = -1
    is_normalised: bool = False


@dataclass
class RawImage:
    """One image as a reader found it, before it is checked.

    Attributes:
        path: The image file; need not exist.
        where: The file, and line or id, that names it.
        size: The size that the file gives it, if it does.
        is_faulty: Whether a reader left something of it out.
    """

    path: str
    where: str
    objects: list[Object] = field(default_factory=list)
    size: tuple[int, int] | None = None
    image_id: int | None = None
    mask_path: str | None = None
    is_faulty: bool = False


class Samples(LazySequence[Sample]):
    """The annotated images of one or several sources; numbers are kept in a few arrays.

    Loader workers share the arrays; a list of objects would be copied into each of them.

    Args:
        images: Checked images, with their objects.
        class_names: The name of each class.
        original_ids: The id that the source gives each class, for writing results.
        point_names: The name of each key point; empty without key points.
        links: Pairs of key points that are joined in pictures.
        faults: What was found, and what was done.
        sources: The files and folders.

    Attributes:
        sizes: ``(width, height)`` of each image, int32, shape ``(I, 2)``.
        boxes: The boxes of all images, float64, shape ``(N, 4)``; likewise ``labels``, ``crowd``,
            ``difficult``.
    """

    def __init__(
        self,
        images: Iterable[RawImage],
        labels: Iterable[int],
        class_names: Sequence[str],
        *,
        original_ids: Sequence[int] = (),
        point_names: Sequence[str] = (),
        links: Sequence[tuple[int, int]] = (),
        faults: Faults | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        listed = list(images)
        objects = [one for image in listed for one in image.objects]
        self.class_names = tuple(class_names)
        self.original_ids = tuple(original_ids) or tuple(range(len(self.class_names)))
        self.point_names = tuple(point_names)
        self.links = tuple(links)
        self.faults = faults if faults is not None else Faults()
        self.sources = tuple(sources)
        self._ends = np.cumsum([0, *(len(image.objects) for image in listed)])
        self._paths = PathTable("", (image.path for image in listed))
        self._masks = PathTable("", (image.mask_path or "" for image in listed))
        self._has_mask = np.array([image.mask_path is not None for image in listed], dtype=bool)
        self._where = PathTable("", (image.where for image in listed))
        self.sizes = np.array([image.size or (0, 0) for image in listed], dtype=np.int32).reshape(
            -1, 2
        )
        self.image_ids = np.array(
            [place if one.image_id is None else one.image_id for place, one in enumerate(listed)],
            dtype=np.int64,
        )
        self.boxes = np.array([one.box for one in objects], dtype=np.float64).reshape(-1, 4)
        self.labels = np.fromiter(labels, dtype=np.int64, count=len(objects))
        self.crowd = np.array([one.crowd for one in objects], dtype=bool)
        self.difficult = np.array([one.difficult for one in objects], dtype=bool)
        self._area = np.array(
            [np.nan if one.area is None else one.area for one in objects], dtype=np.float64
        )
        self._ids = np.array([one.id for one in objects], dtype=np.int64)
        self._outlines = _Outlines([one.outline for one in objects])
        self._points = _stacked_points(objects, len(self.point_names))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._paths)

    def path(self, place: int) -> str:
        """Return the file of an image."""
        return self._paths.path(place)

    @property
    def paths(self) -> list[str]:
        """The file of each image."""
        return [self._paths.path(place) for place in range(len(self))]

    def moved(self, paths: Sequence[str]) -> Samples:
        """Return the same samples with their images at other paths."""
        other = copy.copy(self)
        other._paths = PathTable("", paths)
        return other

    @property
    def counts(self) -> Ints:
        """The number of objects of each image, int64, shape ``(I,)``."""
        return np.diff(self._ends)

    def class_counts(self) -> Ints:
        """Return the number of objects of each class that are trained on, shape ``(C,)``."""
        kept = self.labels[~(self.crowd | self.difficult)]
        return np.bincount(kept, minlength=len(self.class_names))

    def _item(self, place: int) -> Sample:
        part = slice(int(self._ends[place]), int(self._ends[place + 1]))
        boxes, area = self.boxes[part], self._area[part]
        sides = boxes[:, 2:] - boxes[:, :2]
        width, height = self.sizes[place]
        return Sample(
            path=self._paths.path(place),
            where=self._where.path(place),
            size=(int(width), int(height)),
            image_id=int(self.image_ids[place]),
            boxes=boxes,
            labels=self.labels[part],
            crowd=self.crowd[part],
            difficult=self.difficult[part],
            area=np.where(np.isnan(area), sides.prod(axis=1), area),
            ids=self._ids[part],
            outlines=tuple(self._outlines[one] for one in range(part.start, part.stop)),
            points=None if self._points is None else self._points[part],
            mask_path=self._masks.path(place) if self._has_mask[place] else None,
        )

    def __repr__(self) -> str:
        """Show sizes and sources."""
        return (
            f"Samples({len(self)} images, {len(self.boxes)} objects, {len(self.class_names)} "
            f"classes, from {', '.join(self.sources)})"
        )


class _Outlines(LazySequence["Outline"]):
    """Outlines of many objects in one array of numbers and one of bytes."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        kinds: list[tuple[int, int]] = []
        parts: list[NDArray[Any]] = []
        ends = [0]
        for outline in outlines:
            if isinstance(outline, RLE):
                kinds.append((outline.size[0], outline.size[1]))
                parts.append(outline.counts)
            else:
                kinds.append((0, 0))
                parts.extend(polygon.reshape(-1) for polygon in outline or ())
            ends.append(len(parts))
        part_ends = list(itertools.accumulate((len(part) for part in parts), initial=0))
        numbers = [np.asarray(part, dtype=np.float64) for part in parts]
        self._sizes = np.array(kinds, dtype=np.int32).reshape(-1, 2)
        self._ends = np.array(ends, dtype=np.int64)
        self._part_ends = np.array(part_ends, dtype=np.int64)
        self._numbers: Any = np.concatenate(numbers) if numbers else np.empty(0)

    def __len__(self) -> int:
        return len(self._sizes)

    def _item(self, place: int) -> Outline:
        parts = range(int(self._ends[place]), int(self._ends[place + 1]))
        if not parts:
            return None
        numbers = [self._numbers[self._part_ends[one] : self._part_ends[one + 1]] for one in parts]
        width, height = (int(side) for side in self._sizes[place])
        if width:
            return RLE((width, height), numbers[0].astype(np.int64))
        return tuple(one.reshape(-1, 2) for one in numbers)


def _stacked_points(objects: Sequence[Object], num_points: int) -> Floats | None:
    if not num_points:
        return None
    stacked = np.zeros((len(objects), num_points, 3))
    for place, one in enumerate(objects):
        if one.points is not None:
            stacked[place] = np.asarray(one.points, dtype=np.float64)
    return stacked
