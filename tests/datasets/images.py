"""Image files of every mode and format, made in memory."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32


def rgb_pixels() -> np.ndarray:
    """A smooth picture without symmetry, ``(H, W, 3)``, uint8: turned or swapped it differs."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([columns * 7, rows * 9, (rows + columns) * 4], axis=-1).astype(np.uint8)


def picture() -> Image.Image:
    return Image.fromarray(rgb_pixels())


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, which Pillow cannot write for colour."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def turned() -> Image.Exif:
    """EXIF that says: show it turned a quarter clockwise."""
    exif = Image.Exif()
    exif[0x112] = 6
    return exif


def noise(size: int = 64) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_folder(root: Path, counts: Mapping[str, int], size: tuple[int, int] = (8, 8)) -> Path:
    """Write ``<root>/<class>/<number>.png``, every image of another colour."""
    number = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            number += 1
            Image.new("RGB", size, (number % 256, number // 256, len(name))).save(
                root / name / f"{place}.png"
            )
    return root
