"""Small generated images for tests and examples: coloured shapes on noise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basetrainer.errors import ConfigError

SHAPES = ("disc", "square", "triangle", "cross", "ring", "diamond", "bar", "frame")

COLORS = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 90, 230),
    "yellow": (230, 210, 40),
    "purple": (160, 60, 200),
    "cyan": (40, 200, 210),
    "orange": (240, 140, 30),
    "white": (240, 240, 240),
}

KINDS = tuple(
    (tuple(COLORS)[(place + turn) % len(COLORS)], shape)
    for turn in range(len(COLORS))
    for place, shape in enumerate(SHAPES)
)
"""Colour and shape of each class: of the first eight no two share either."""


def class_names(num_classes: int) -> list[str]:
    """Return the names of the first ``num_classes`` classes: "red_disc", "green_square", ...

    Raises:
        ConfigError: If it is not between 1 and 64.
    """
    if not 1 <= num_classes <= len(KINDS):
        raise ConfigError(
            f"num_classes={num_classes}: there are 1 to {len(KINDS)} generated classes."
        )
    return [f"{color}_{shape}" for color, shape in KINDS[:num_classes]]


def class_sizes(num_images: int, num_classes: int, imbalance: float = 1.0) -> list[int]:
    """Split a number of images into classes whose sizes fall geometrically.

    Args:
        num_images: Of all classes together; at least one each.
        num_classes: Number of classes.
        imbalance: Size of the first class over that of the last; 1 makes all alike.

    Returns:
        Sizes, none below 1, that sum to ``num_images``.

    Raises:
        ConfigError: If there are fewer images than classes, or ``imbalance`` is below 1.
    """
    if num_images < num_classes or imbalance < 1:
        raise ConfigError(
            f"{num_images} images in {num_classes} classes with imbalance={imbalance}: give at "
            "least one image a class, and an imbalance of 1 or more."
        )
    parts = imbalance ** -(np.arange(num_classes) / max(num_classes - 1, 1))
    # One image each is set aside first, so that no class is empty however steep the fall.
    ends = np.round(np.cumsum(parts) / parts.sum() * (num_images - num_classes)).astype(int)
    return [int(size) + 1 for size in np.diff(ends, prepend=0)]


def generate_images(
    labels: Sequence[int], *, size: int = 32, noise: float = 40.0, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw one image for each label.

    Shape's place, size and brightness vary. Image i is a function of ``seed``, i and its label.

    Args:
        labels: Class of each image, shape ``(N,)``.
        size: Height and width, pixels.
        noise: Standard deviation of the noise, grey levels of 0 to 255; 40 is easy to learn.
        seed: Chooses the images.

    Returns:
        uint8, shape ``(N, size, size, 3)``: RGB, channels last.
    """
    images = np.empty((len(labels), size, size, 3), dtype=np.uint8)
    rows, columns = np.mgrid[0:size, 0:size]
    for place, label in enumerate(labels):
        rng = np.random.default_rng([seed, place])
        radius = size * rng.uniform(0.22, 0.36)
        center = size / 2 + rng.uniform(-0.15, 0.15, 2) * size
        y, x = (rows - center[0]) / radius, (columns - center[1]) / radius
        color, shape = KINDS[label]
        brightness = rng.uniform(0.75, 1.0)
        background = rng.uniform(60, 140)
        canvas = np.full((size, size, 3), background)
        canvas[shape_mask(shape, y, x)] = np.array(COLORS[color]) * brightness
        canvas += rng.normal(0.0, noise, canvas.shape)
        images[place] = np.clip(np.round(canvas), 0, 255).astype(np.uint8)
    return images


def write_image_folder(
    root: str | os.PathLike[str],
    *,
    num_images: int = 80,
    num_classes: int = 4,
    imbalance: float = 1.0,
    size: int = 32,
    noise: float = 40.0,
    seed: int = 0,
    suffix: str = ".png",
) -> Path:
    """Write generated images as ``<root>/<class>/<number>.png``.

    Whoever reads the folder by its names alone numbers the classes in natural order; to have the
    largest class first, pass ``class_names(num_classes)`` to the dataset.

    Args:
        root: Folder to fill; made if need be.
        num_images: Of all classes together.
        num_classes: 1 to 64, see :func:`class_names`.
        imbalance: Size of the first class over that of the last.
        size: Height and width, pixels.
        noise: See :func:`generate_images`.
        seed: Chooses the images; another one gives a test set.
        suffix: Ending that Pillow knows: ".png", ".jpg", ...

    Returns:
        ``root``.
    """
    from PIL.Image import fromarray

    folder = Path(root)
    sizes = class_sizes(num_images, num_classes, imbalance)
    labels = [label for label, count in enumerate(sizes) for _ in range(count)]
    names = class_names(num_classes)
    pixels = generate_images(labels, size=size, noise=noise, seed=seed)
    for place, (label, image) in enumerate(zip(labels, pixels, strict=True)):
        file = folder / names[label] / f"{place:05d}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        fromarray(image).save(file)
    return folder


def shape_mask(shape: str, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels of one of :data:`SHAPES`, which fills -1 to 1.

    Args:
        shape: Its name.
        y: Row of each pixel from the centre, in units of the radius.
        x: Column, likewise.
    """
    far, square = np.hypot(y, x), np.maximum(abs(y), abs(x))
    masks = {
        "disc": far <= 1,
        "square": square <= 0.85,
        "triangle": (y <= 0.8) & (abs(x) <= (y + 1) / 1.9),
        "cross": (square <= 1) & (np.minimum(abs(y), abs(x)) <= 0.3),
        "ring": (far <= 1) & (far >= 0.55),
        "diamond": abs(y) + abs(x) <= 1.1,
        "bar": (abs(y) <= 0.35) & (abs(x) <= 1),
        "frame": (square <= 0.95) & (square >= 0.55),
    }
    return np.asarray(masks[shape])
