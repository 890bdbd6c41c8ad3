"""Image files to RGB pixels.

torchvision's decoder reads JPEG, PNG and plain WebP (measured on JPEGs: 1.6 times as fast as Pillow
at 500x375, 3.6 times at 96x72). Pillow reads everything else, what torchvision refuses, and all
images for transforms that want Pillow's. Both give the same pixels:

- palette, grey, black-and-white and CMYK become RGB; transparency is dropped, not blended;
- 16 bits become 8 by their high byte; 32-bit integers and floats, whose range nobody knows, are
  refused;
- the EXIF orientation is applied; of an animation the first frame is taken.
"""

from __future__ import annotations

import functools
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basetrainer.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

Bytes: TypeAlias = NDArray[np.uint8]

_RGB = 3  # torchvision's ImageReadMode.RGB
_SIXTEEN_BITS_AS_I = ("PNG", "PPM")  # formats without 32 bits, of which Pillow may make mode I
_EXTENDED_WEBP = b"VP8X"  # may hold an EXIF orientation, which torchvision ignores, or frames


def read_bytes(path: str) -> Bytes:
    """Return the content of a file, uint8, shape ``(num_bytes,)``.

    Raises:
        DataError: If it is missing, empty or cannot be read.
    """
    try:
        content: Bytes = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}.") from None
    if not content.size:
        raise DataError(f"{path}: the file is empty.")
    return content


def decode_tensor(content: Bytes, path: str) -> Tensor:
    """Decode an image to a tensor.

    Args:
        content: The file's bytes.
        path: For the message.

    Returns:
        uint8 RGB, shape ``(3, H, W)``; the memory may be laid out with the channels last.

    Raises:
        DataError: If it is no image that can be read; names file and reason.
    """
    decoder = _native_decoder()
    if decoder is not None and _is_native(content[:16].tobytes()):
        try:
            return decoder(content)
        except RuntimeError:
            pass  # Pillow reads some variants more, and says better what is wrong with the rest
    pixels = np.array(decode_pil(content, path))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def decode_pil(content: Bytes, path: str) -> Image:
    """Decode an image to a Pillow image of mode RGB.

    Args:
        content: The file's bytes.
        path: For the message.

    Raises:
        DataError: If it is no image that can be read; names file and reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content.data))
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image), image.format)
    except UnidentifiedImageError:
        start = content[:8].tobytes()
        raise DataError(
            f"{path}: not an image in a format that can be read (it begins with {start!r})."
        ) from None
    except Exception as error:  # a broken file may raise anything: SyntaxError, struct.error, ...
        raise DataError(
            f"{path}: cannot decode it: {str(error) or type(error).__name__}."
        ) from error


def read_tensor(path: str) -> Tensor:
    """Read an image file, see :func:`decode_tensor`."""
    return decode_tensor(read_bytes(path), path)


def read_pil(path: str) -> Image:
    """Read an image file, see :func:`decode_pil`."""
    return decode_pil(read_bytes(path), path)


def to_pil(image: Tensor) -> Image:
    """Return a uint8 RGB image of shape ``(3, H, W)`` as Pillow has it."""
    from PIL.Image import fromarray

    return fromarray(image.permute(1, 2, 0).numpy())


@functools.cache
def _native_decoder() -> Callable[[Bytes], Tensor] | None:
    """Return torchvision's decoder, or None where it has none."""
    try:
        import torchvision.io  # noqa: F401  # registers the operator

        # The operator behind torchvision.io.decode_image, which since 0.29 warns on every call that
        # it will move to another package. When it goes, Pillow takes over.
        operator = torch.ops.image.decode_image
    except (ImportError, AttributeError):
        return None

    def decode(content: Bytes) -> Tensor:
        decoded: Tensor = operator(torch.from_numpy(content), _RGB, True)
        return (decoded.int() >> 8).byte() if decoded.dtype == torch.uint16 else decoded

    return decode


def _is_native(start: bytes) -> bool:
    """Whether torchvision reads files that start so, EXIF orientation included."""
    if start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return True
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return is_webp and start[12:16] != _EXTENDED_WEBP


def _to_rgb(image: Image, file_format: str | None) -> Image:
    from PIL.Image import fromarray

    if image.mode == "RGB":
        return image
    if image.mode == "I" and file_format not in _SIXTEEN_BITS_AS_I:
        raise DataError(
            "its pixels are 32-bit integers of unknown range; save it with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # Pillow's own conversion would cut everything above 255
        high_byte = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return fromarray(high_byte).convert("RGB")
    if image.mode == "F":
        raise DataError("its pixels are 32-bit floats of unknown range; save it with 8 or 16 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns about palettes with several such entries
    return image.convert("RGB")


IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Endings, in lower case, of the files that count as images."""


UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx", ".jpm", ".j2c", ".jxl", ".jxr"}
    | {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"}
    | {".tga", ".psd", ".exr", ".hdr", ".dcm", ".dicom", ".svg", ".eps", ".ico", ".pcx", ".dds"}
    | {".xcf", ".fits", ".fit", ".sgi", ".qoi", ".apng", ".wdp", ".mpo"}
)
"""Endings, in lower case, of image formats that are not read."""


def warn_of_unread(names: Iterable[str], folder: str) -> None:
    """Log one warning with the number of images in each format that is not read.

    Args:
        names: Of all files that were found.
        folder: Where, for the message.
    """
    suffixes = (PurePath(name).suffix.lower() for name in names)
    counts = Counter(suffix for suffix in suffixes if suffix in UNREAD_SUFFIXES)
    if counts:
        logger.warning(
            "%s: %d images are left out, since their formats are not read: %s. Convert them to "
            "JPEG or PNG.",
            folder,
            counts.total(),
            ", ".join(f"{number} {suffix}" for suffix, number in sorted(counts.items())),
        )


def is_image_name(name: str) -> bool:
    """Whether a file name has the ending of an image, in any letter case."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
