"""Generated images of stick figures, with key points."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from basetrainer._names import lookup
from basetrainer.datasets.generated import COLORS
from basetrainer.tasks.formats.write import image_folder, save_image, write_set
from basetrainer.tasks.sample import Object, RawImage, Samples

Pixels: TypeAlias = NDArray[np.uint8]

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
    """Write images of stick figures with their key points.

    Arguments are those of :func:`~basetrainer.tasks.generated_shapes.write_shapes`.

    Raises:
        UnknownNameError: If the format is not known, or holds no key points.
    """
    lookup("format with key points", format, dict.fromkeys(("coco", "yolo", "labelme")))
    folder = image_folder(Path(root), format)
    images = []
    for place in range(num_images):
        figure = stick_figure(np.random.default_rng([seed, place]), size, noise)
        path = save_image(figure.image, folder / f"{place:05d}.png")
        box: Any = tuple(map(float, figure.box))
        one = Object("", "figure", box, points=figure.points.tolist())
        images.append(RawImage(path, path, [one], size, place + 1))
    samples = Samples(
        images, [0] * num_images, ["figure"], original_ids=[1], point_names=JOINTS, links=LINKS
    )
    return write_set(samples, Path(root), format)


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
    pixels: NDArray[Any] = np.stack(
        np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1
    )
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
