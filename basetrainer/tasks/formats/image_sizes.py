"""The sizes of image files, read from their first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from basetrainer.errors import first_line

_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange width and height
_ORIENTATION = 0x0112
_THREADS = 8


@dataclass(frozen=True)
class ImageSize:
    """What the head of an image file says.

    Attributes:
        size: ``(width, height)`` as the image is seen; None if the file cannot be read.
        stored: ``(width, height)`` as the pixels lie in the file, before an EXIF orientation.
        fault: Why it cannot be read; "" if it can.
        is_missing: Whether there is no such file.
    """

    size: tuple[int, int] | None
    stored: tuple[int, int] | None = None
    fault: str = ""
    is_missing: bool = False


def image_size(path: str) -> ImageSize:
    """Read the size of an image file; pixels are not decoded."""
    from PIL import Image

    if not Path(path).is_file():
        return ImageSize(None, fault="there is no such image", is_missing=True)
    try:
        with Image.open(path) as image:
            stored = image.size
            orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a broken file may raise anything: SyntaxError, struct.error, ...
        return ImageSize(None, fault=f"the image cannot be read ({_reason(path, error)})")
    size = stored[::-1] if orientation in _TURNED else stored
    return ImageSize(size, stored)


def image_sizes(paths: Sequence[str]) -> list[ImageSize]:
    """Read the sizes of many files; several at a time, since each waits for the disk."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(image_size, paths))


def _reason(path: str, error: Exception) -> str:
    text = first_line(error)
    return "not an image in a format that can be read" if path in text else text
