"""Boxes, masks and skeletons drawn on images, in the image's own scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Color: TypeAlias = tuple[int, int, int]

COLORS: tuple[Color, ...] = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180),
    (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128),
    (220, 190, 255), (170, 110, 40), (255, 225, 25), (128, 0, 0), (170, 255, 195),
    (128, 128, 0), (255, 215, 180), (0, 0, 128), (128, 128, 128), (255, 250, 200),
)  # fmt: skip
"""Twenty colours that are told apart on photographs; class c has colour ``c % 20``."""

_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


def color_of(label: int) -> Color:
    """Return the colour of a class."""
    return COLORS[label % len(COLORS)]


def line_width(image: Image) -> int:
    """Return the width of lines on an image, pixels: a 400th of its longer side, at least 1."""
    return max(1, round(max(image.size) / 400))


def draw_boxes(
    image: Image,
    boxes: NDArray[Any] | Sequence[Sequence[float]],
    labels: Sequence[int],
    class_names: Sequence[str] = (),
    scores: Sequence[float] | None = None,
    *,
    width: int | None = None,
    color: Color | None = None,
    with_text: bool = True,
) -> Image:
    """Draw boxes with class and score on a copy of an image.

    The line runs along the outermost pixels that lie in the box; text stays within the image.

    Args:
        image: Mode RGB.
        boxes: ``x1, y1, x2, y2`` in its pixels, shape ``(N, 4)``.
        labels: Class of each.
        class_names: Name of each class; without one its number is written.
        scores: Between 0 and 1, if there are any.
        width: Of lines, pixels; by default that of :func:`line_width`.
        color: Of all boxes; by default by class.
        with_text: Whether class and score are written.
    """
    from PIL import ImageDraw

    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    thick = line_width(image) if width is None else width
    for place, box in enumerate(np.asarray(boxes, dtype=np.float64).reshape(-1, 4)):
        label = int(labels[place])
        own = color_of(label) if color is None else color
        x1, y1, x2, y2 = _pixels_of(box, image.size)
        draw.rectangle((x1, y1, x2, y2), outline=own, width=min(thick, max(1, (x2 - x1 + 1) // 2)))
        if with_text:
            name = class_names[label] if label < len(class_names) else str(label)
            text = name if scores is None else f"{name} {float(scores[place]):.2f}"
            _write(drawn, draw, text, (x1, y1), own)
    return drawn


def draw_mask(
    image: Image,
    mask: NDArray[Any],
    *,
    opacity: float = 0.5,
    ignore_index: int = 255,
    background: int | None = 0,
) -> Image:
    """Lay the classes of a mask over a copy of an image, each in its colour.

    Args:
        image: Mode RGB.
        mask: Class of each pixel, shape ``(H, W)`` of the image.
        opacity: Of the colours, 0 to 1.
        ignore_index: The class that is left as it is.
        background: Likewise; None colours all classes.

    Raises:
        ValueError: If the mask has another size.
    """
    from PIL.Image import fromarray

    if mask.shape != (image.height, image.width):
        raise ValueError(
            f"the mask has {mask.shape[1]}x{mask.shape[0]} pixels, the image "
            f"{image.width}x{image.height}"
        )
    pixels = np.asarray(image, dtype=np.float32)
    colors = np.array([color_of(label) for label in range(256)], dtype=np.float32)
    shown = mask != ignore_index
    if background is not None:
        shown &= mask != background
    mixed = pixels * (1 - opacity) + colors[mask] * opacity
    return fromarray(np.where(shown[..., None], mixed, pixels).round().astype(np.uint8))


def draw_skeleton(
    image: Image,
    points: NDArray[Any],
    links: Sequence[tuple[int, int]],
    *,
    visible: NDArray[Any] | None = None,
    color: Color | None = None,
) -> Image:
    """Draw key points, and the links between two visible ones, on a copy of an image.

    Args:
        image: Mode RGB.
        points: ``x, y`` in its pixels, shape ``(K, 2)``.
        links: Pairs of key points.
        visible: Which are drawn, shape ``(K,)``; by default all.
        color: Of points and links; by default by their place.
    """
    from PIL import ImageDraw

    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    shown = np.ones(len(points), dtype=bool) if visible is None else np.asarray(visible, dtype=bool)
    shown &= np.isfinite(points[:, :2]).all(axis=1)
    thick = line_width(image)
    # Pixel i covers i to i + 1, and Pillow names pixels: the pixel of x is floor(x).
    places = [
        tuple(math.floor(one) for one in point[:2]) if is_shown else (0, 0)
        for point, is_shown in zip(points, shown, strict=True)
    ]
    for place, (first, last) in enumerate(links):
        if shown[first] and shown[last]:
            own = color_of(place) if color is None else color
            draw.line((*places[first], *places[last]), fill=own, width=max(thick, 1))
    radius = max(1, thick)
    for place, (x, y) in enumerate(places):
        if shown[place]:
            own = color_of(place) if color is None else color
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=own, outline=_DARK)
    return drawn


def grid(images: Sequence[Image], *, columns: int | None = None, side: int = 256) -> Image:
    """Return images side by side, each shrunk into a square cell of ``side`` pixels.

    Raises:
        ValueError: If there is none.
    """
    from PIL import Image

    if not images:
        raise ValueError("there is no image to draw")
    wide = columns or math.ceil(math.sqrt(len(images)))
    high = math.ceil(len(images) / wide)
    sheet = Image.new("RGB", (wide * (side + 4), high * (side + 4)), _LIGHT)
    for place, image in enumerate(images):
        scale = side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(
            size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
        )
        left, top = place % wide * (side + 4), place // wide * (side + 4)
        sheet.paste(small, (left + (side - size[0]) // 2 + 2, top + (side - size[1]) // 2 + 2))
    return sheet


def _pixels_of(box: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the first and the last pixel that a box covers, within the image."""
    x1, y1 = (math.floor(round(float(side), 3)) for side in box[:2])
    x2, y2 = (math.ceil(round(float(side), 3)) - 1 for side in box[2:])
    x1, x2 = (min(max(side, 0), size[0] - 1) for side in (x1, x2))
    y1, y2 = (min(max(side, 0), size[1] - 1) for side in (y1, y2))
    return x1, y1, max(x1, x2), max(y1, y2)


def _write(image: Image, draw: Any, text: str, corner: tuple[int, int], color: Color) -> None:
    """Write a line in a box of its colour above a corner, or below where there is no room."""
    from PIL import ImageFont

    size = max(8.0, min(max(image.size) / 45, 40.0))
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = (math.ceil(one) for one in draw.textbbox((0, 0), text, font=font))
    while right - left + 2 > image.width and len(text) > 1:
        text = f"{text[:-2]}~" if len(text) > 2 else text[:1]
        left, top, right, bottom = (
            math.ceil(one) for one in draw.textbbox((0, 0), text, font=font)
        )
    width, height = right - left + 2, bottom - top + 2
    if width > image.width or height > image.height:
        return  # no room for a letter
    x = min(max(corner[0], 0), image.width - width)
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = min(max(y, 0), image.height - height)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
    light = sum(part * share for part, share in zip(color, (0.3, 0.6, 0.1), strict=True)) > 140
    draw.text((x + 1 - left, y + 1 - top), text, fill=_DARK if light else _LIGHT, font=font)
