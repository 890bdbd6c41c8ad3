"""Generated data sets: coloured shapes with boxes and masks, stick figures with key points."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from basetrainer._names import lookup
from basetrainer.datasets.generated import COLORS, KINDS, class_names, shape_mask
from basetrainer.errors import ConfigError
from basetrainer.tasks.formats import coco_writer, labelme, masks, voc, yolo_writer
from basetrainer.tasks.rle import RLE
from basetrainer.tasks.sample import Object, RawImage, Samples

Pixels: TypeAlias = NDArray[np.uint8]

_TRIES = 20  # places tried for a shape before it is left out
_MOST_OVERLAP = 0.1  # of the smaller of two boxes

JOINTS = (
    *("head", "left_hand", "right_hand", "left_elbow", "right_elbow"),
    *("hip", "left_foot", "right_foot", "neck"),
)
"""The key points of a stick figure."""

LINKS = ((0, 8), (8, 3), (3, 1), (8, 4), (4, 2), (8, 5), (5, 6), (5, 7))
"""Pairs of :data:`JOINTS` that a limb joins."""

PAIRS = ((1, 2), (3, 4), (6, 7))
"""Left and right: pairs of :data:`JOINTS` that a mirror exchanges."""

_SIDES = {1: "blue", 3: "blue", 6: "blue", 2: "red", 4: "red", 7: "red"}


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
    folder = _image_folder(Path(root), format)
    images, labels = [], []
    for place in range(num_images):
        rng = np.random.default_rng([seed, place])
        # Spread evenly, so that small sets have the share, too.
        is_empty = int((place + 1) * empty) > int(place * empty)
        scene = shapes_scene(rng, size, num_classes, noise=noise, is_empty=is_empty)
        path = _save(scene.image, folder / f"{place:05d}.png")
        objects = [
            Object("", names[label], tuple(box), RLE.of(mask), area=float(mask.sum()))
            for box, label, mask in zip(scene.boxes, scene.labels, scene.masks, strict=True)
        ]
        images.append(RawImage(path, path, objects, size, place + 1))
        labels += scene.labels.tolist()
    return _write(Samples(images, labels, names), Path(root), format)


@dataclass(frozen=True)
class Figure:
    """One generated image of a stick figure.

    Attributes:
        image: uint8, shape ``(H, W, 3)``, RGB.
        points: ``x, y, visibility`` of :data:`JOINTS`, shape ``(9, 3)``.
        box: ``x1, y1, x2, y2`` around the points, with a margin.
    """

    image: Pixels
    points: NDArray[np.float64]
    box: NDArray[np.float64]


def stick_figure(
    rng: np.random.Generator, size: tuple[int, int] = (96, 128), noise: float = 12.0
) -> Figure:
    """Draw a figure whose left limbs are blue and whose right ones are red.

    Args:
        rng: Decides everything.
        size: ``(width, height)``, pixels.
        noise: Standard deviation of the noise, grey levels of 0 to 255.
    """
    width, height = size
    unit = min(width / 96, height / 128) * rng.uniform(0.75, 1.0)
    center = np.array([width, height]) / 2 + rng.uniform(-0.06, 0.06, 2) * size
    hip = center + np.array([0, 10]) * unit
    lean = rng.uniform(-0.25, 0.25)
    up = np.array([np.sin(lean), -np.cos(lean)])
    side = np.array([-up[1], up[0]])
    neck = hip + up * 34 * unit
    points = np.zeros((len(JOINTS), 2))
    points[5], points[8] = hip, neck
    points[0] = neck + up * 14 * unit + side * rng.uniform(-3, 3) * unit
    for elbow, hand, sign in ((3, 1, 1), (4, 2, -1)):  # the figure looks at us: its left is right
        angle = rng.uniform(-0.9, 1.2)
        points[elbow] = neck + _turned(side * sign, sign * angle) * 19 * unit
        points[hand] = (
            points[elbow] + _turned(side * sign, sign * rng.uniform(-1.5, 1.5)) * 16 * unit
        )
    for foot, sign in ((6, 1), (7, -1)):
        points[foot] = hip + _turned(-up, -sign * rng.uniform(0.1, 0.7)) * 40 * unit
    image = _drawn(points, rng, size, noise, unit)
    inside = np.logical_and(points >= 0, points < [width, height]).all(axis=1)
    visible = np.where(inside, 2.0, 0.0)
    low, high = points.min(axis=0) - 6 * unit, points.max(axis=0) + 6 * unit
    box = np.concatenate([np.maximum(low, 0), np.minimum(high, [width, height])])
    return Figure(image, np.column_stack([points * inside.reshape(-1, 1), visible]), box)


def write_figures(
    root: str | os.PathLike[str],
    *,
    num_images: int = 80,
    size: tuple[int, int] = (96, 128),
    seed: int = 0,
    noise: float = 12.0,
    format: str = "coco",
) -> Path:
    """Write images of stick figures with their key points; see :func:`write_shapes`.

    Raises:
        UnknownNameError: If the format is not known, or holds no key points.
    """
    lookup("format with key points", format, dict.fromkeys(("coco", "yolo", "labelme")))
    folder = _image_folder(Path(root), format)
    images = []
    for place in range(num_images):
        figure = stick_figure(np.random.default_rng([seed, place]), size, noise)
        path = _save(figure.image, folder / f"{place:05d}.png")
        box: Any = tuple(map(float, figure.box))
        one = Object("", "figure", box, points=figure.points.tolist())
        images.append(RawImage(path, path, [one], size, place + 1))
    samples = Samples(
        images, [0] * num_images, ["figure"], original_ids=[1], point_names=JOINTS, links=LINKS
    )
    return _write(samples, Path(root), format)


def _image_folder(root: Path, format: str) -> Path:
    places = {
        "coco": "images",
        "voc": "JPEGImages",
        "yolo": "images",
        "labelme": "",
        "masks": "images",
    }
    folder = root / lookup("format", format, places)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save(image: Pixels, path: Path) -> str:
    from PIL.Image import fromarray

    fromarray(image).save(path)
    return str(path)


def _write(samples: Samples, root: Path, format: str) -> Path:
    if format == "coco":
        coco_writer.write(samples, root / "annotations.json")
        return root / "annotations.json"
    writers: dict[str, Any] = {
        "voc": voc.write,
        "yolo": yolo_writer.write,
        "labelme": labelme.write,
        "masks": masks.write,
    }
    writers[format](samples, root)
    return root


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


def _turned(vector: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def _drawn(
    points: NDArray[np.float64],
    rng: np.random.Generator,
    size: tuple[int, int],
    noise: float,
    unit: float,
) -> Pixels:
    """Draw limbs as thick lines: each pixel by its distance to the nearest."""
    width, height = size
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    canvas = np.full((height, width, 3), rng.uniform(70, 130))
    for first, last in LINKS:
        color = COLORS[_SIDES.get(last, _SIDES.get(first, "white"))]
        canvas[_distance(pixels, points[first], points[last]) <= 2.2 * unit] = color
    canvas[np.hypot(*np.moveaxis(pixels - points[0], -1, 0)) <= 6 * unit] = COLORS["yellow"]
    canvas += rng.normal(0.0, noise, canvas.shape)
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _distance(
    pixels: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each pixel to a line."""
    line = end - start
    share = np.clip(((pixels - start) @ line) / max(float(line @ line), 1e-9), 0.0, 1.0)
    nearest = start + share[..., None] * line
    return np.asarray(np.hypot(*np.moveaxis(pixels - nearest, -1, 0)))
