"""Generated images of coloured shapes, with boxes and masks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from basetrainer.datasets.generated import COLORS, KINDS, class_names, shape_mask
from basetrainer.errors import ConfigError
from basetrainer.tasks.formats.write import image_folder, save_image, write_set
from basetrainer.tasks.rle import RLE
from basetrainer.tasks.sample import Object, RawImage, Samples

Pixels: TypeAlias = NDArray[np.uint8]

_TRIES = 20  # places tried for a shape before it is left out
_MOST_OVERLAP = 0.1  # of the smaller of two boxes


@dataclass(frozen=True)
class Scene:
    """One generated image of shapes.

    Attributes:
        image: uint8, shape ``(H, W, 3)``, RGB.
        boxes: ``x1, y1, x2, y2`` of what is seen of each shape, shape ``(N, 4)``.
        labels: Class of each shape, shape ``(N,)``.
        masks: The pixels that are seen of each shape, bool, shape ``(N, H, W)``.
    """

    image: Pixels
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


def shapes_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    num_classes: int,
    *,
    most: int = 4,
    noise: float = 30.0,
    is_empty: bool = False,
) -> Scene:
    """Draw 1 to ``most`` shapes on noise.

    Args:
        rng: Decides everything.
        size: ``(width, height)``, pixels.
        num_classes: 1 to 64; colour and shape by class, as
            :func:`basetrainer.datasets.generated.class_names` names them.
        most: The most shapes in one image.
        noise: Standard deviation of the noise, grey levels of 0 to 255.
        is_empty: Whether there is no shape.
    """
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    canvas = np.full((height, width, 3), rng.uniform(60, 140))
    found: list[tuple[NDArray[np.bool_], int, tuple[int, int, int, int]]] = []
    for _ in range(0 if is_empty else int(rng.integers(1, most + 1))):
        for _ in range(_TRIES):
            radius = min(size) * rng.uniform(0.11, 0.24)
            y, x = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
            label = int(rng.integers(num_classes))
            color, shape = KINDS[label]
            inside = shape_mask(shape, (rows + 0.5 - y) / radius, (columns + 0.5 - x) / radius)
            box = _box_of(inside)
            if box is not None and all(
                _overlap(box, other) <= _MOST_OVERLAP for *_, other in found
            ):
                canvas[inside] = np.array(COLORS[color]) * rng.uniform(0.75, 1.0)
                found = [(mask & ~inside, one, other) for mask, one, other in found]
                found.append((inside, label, box))
                break
    canvas += rng.normal(0.0, noise, canvas.shape)
    seen = [(mask, label) for mask, label, _ in found if mask.any()]
    boxes = [_box_of(mask) for mask, _ in seen]
    return Scene(
        np.clip(np.round(canvas), 0, 255).astype(np.uint8),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array([label for _, label in seen], dtype=np.int64),
        np.array([mask for mask, _ in seen], dtype=bool).reshape(-1, height, width),
    )


def write_shapes(
    root: str | os.PathLike[str],
    *,
    format: str = "yolo",
    num_images: int = 80,
    num_classes: int = 3,
    size: tuple[int, int] = (96, 96),
    empty: float = 0.05,
    seed: int = 0,
    noise: float = 30.0,
) -> Path:
    """Write images of shapes with their annotations.

    Image i is a function of ``seed`` and i.

    Args:
        root: Folder to fill; made if need be. Images go to ``images`` (of VOC: ``JPEGImages``; of
            LabelMe: beside their files).
        format: ``coco`` (``annotations.json``), ``voc``, ``yolo``, ``labelme`` or ``masks``.
        num_images: How many.
        num_classes: 1 to 64.
        size: ``(width, height)`` of each image, pixels.
        empty: The share of images without a shape, 0 to 1.
        seed: Chooses the images; another one gives a test set.
        noise: See :func:`shapes_scene`.

    Returns:
        What :func:`~basetrainer.tasks.formats.open.open_samples` takes: the folder, of COCO the
        file.

    Raises:
        ConfigError: If a number is out of range.
        UnknownNameError: If the format is not known.
    """
    names = class_names(num_classes)
    if num_images < 1 or not 0 <= empty <= 1:
        raise ConfigError(
            f"num_images={num_images}, empty={empty}: write at least one image, and a share of "
            "empty ones from 0 to 1."
        )
    folder = image_folder(Path(root), format)
    images, labels = [], []
    for place in range(num_images):
        rng = np.random.default_rng([seed, place])
        # Spread evenly, so that small sets have the share, too.
        is_empty = int((place + 1) * empty) > int(place * empty)
        scene = shapes_scene(rng, size, num_classes, noise=noise, is_empty=is_empty)
        path = save_image(scene.image, folder / f"{place:05d}.png")
        objects = [
            Object("", names[label], tuple(box), RLE.of(mask), area=float(mask.sum()))
            for box, label, mask in zip(scene.boxes, scene.labels, scene.masks, strict=True)
        ]
        images.append(RawImage(path, path, objects, size, place + 1))
        labels += scene.labels.tolist()
    return write_set(Samples(images, labels, names), Path(root), format)


def _box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the shared area of two boxes over that of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)
