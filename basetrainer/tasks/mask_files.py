"""Mask files: what the pixels of a mask mean, and how one is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from basetrainer.errors import ConfigError, DataError, first_line
from basetrainer.tasks.formats.source import StrPath
from basetrainer.tasks.rle import RLE, fill_polygons
from basetrainer.tasks.sample import Sample

Mask: TypeAlias = NDArray[np.uint8]
_LISTED = 8


@dataclass(frozen=True)
class MaskCoding:
    """What the pixels of a mask file mean.

    Args:
        num_classes: How many classes there are, background included.
        ignore_index: The class of pixels that do not count, 255 by default.
        class_ids: The value of each class in the file; None is 0, 1, 2, ...
        color_map: The colour of each class, for RGB masks.

    Raises:
        ConfigError: If ids or colours are not one a class.
    """

    num_classes: int
    ignore_index: int = 255
    class_ids: tuple[int, ...] | None = None
    color_map: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        for name in ("class_ids", "color_map"):
            given = getattr(self, name)
            if given is not None and len(given) != self.num_classes:
                raise ConfigError(
                    f"{name} has {len(given)} entries, but there are {self.num_classes} classes."
                )

    @classmethod
    def of(
        cls,
        class_names: Sequence[str],
        *,
        ignore_index: int = 255,
        class_ids: Sequence[int] | None = None,
        color_map: Mapping[str, Sequence[int]] | None = None,
    ) -> MaskCoding:
        """Make it from the config keys of the same names.

        Raises:
            ConfigError: If a class has no colour.
        """
        colors = None
        if color_map is not None:
            lacking = [name for name in class_names if name not in color_map]
            if lacking:
                raise ConfigError(f"color_map has no colour for {', '.join(lacking[:_LISTED])}.")
            colors = tuple(_color(color_map[name], name) for name in class_names)
        ids = None if class_ids is None else tuple(int(one) for one in class_ids)
        return cls(len(class_names), ignore_index, ids, colors)


def read_mask(path: str, coding: MaskCoding) -> Mask:
    """Return the class of each pixel, uint8, shape ``(H, W)``.

    Palette images give their indices, never their colours; 16-bit masks keep their values.

    Raises:
        DataError: If the file cannot be read, or a value or a colour is no class; names them.
    """
    values = _pixels(path)
    if values.ndim == 3:
        return _by_color(values, path, coding)
    ids = range(coding.num_classes) if coding.class_ids is None else coding.class_ids
    found = np.unique(values)
    # A class may use the value that otherwise says that a pixel is ignored (0 and 255).
    unknown = [int(one) for one in found if one not in ids and one != coding.ignore_index]
    if unknown:
        hint = ""
        if set(map(int, found)) <= {0, 255} and coding.num_classes == 2:
            hint = " Of a mask with 0 and 255, write class_ids: [0, 255]."
        elif coding.class_ids is None:
            hint = " If classes have other values in the file, write them as class_ids."
        raise DataError(
            f"{path}: values {_few(unknown)} are no class: there are {coding.num_classes}, with "
            f"values {_few(list(ids))}, and {coding.ignore_index} is ignored.{hint}"
        )
    if coding.class_ids is None:
        return values.astype(np.uint8)
    mask = np.full(values.shape, coding.ignore_index, dtype=np.uint8)
    for index, value in enumerate(coding.class_ids):
        mask[values == value] = index
    return mask


def mask_size(path: str) -> tuple[int, int]:
    """Return ``(width, height)`` of a mask file.

    Raises:
        DataError: If it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such mask.") from None
    except Exception as error:
        raise DataError(f"{path}: the mask cannot be read ({first_line(error)}).") from None


def mask_of_outlines(sample: Sample, *, background: int = 0, ignore_index: int = 255) -> Mask:
    """Return the mask that the outlines of an image draw, uint8, shape ``(H, W)``.

    Objects lie in their order, the last on top; class ``c`` becomes ``c + 1`` where 0 is
    the background. Crowds are ignored.

    Args:
        sample: The image.
        background: The class of pixels without an object; -1 if classes have no background, then
            class ``c`` stays ``c`` and the rest is ignored.
        ignore_index: The class of crowds.
    """
    width, height = sample.size
    offset = 0 if background < 0 else 1
    mask = np.full((height, width), ignore_index if background < 0 else background, np.uint8)
    for place in np.argsort(~sample.crowd, kind="stable"):
        outline = sample.outlines[int(place)]
        if outline is None:
            continue
        inside = outline.mask() if isinstance(outline, RLE) else fill_polygons(outline, sample.size)
        mask[inside] = ignore_index if sample.crowd[place] else sample.labels[place] + offset
    return mask


def save_mask(mask: Mask, file: StrPath) -> None:
    """Write classes as a PNG with a palette, so that people see colours and programs classes."""
    from PIL.Image import fromarray

    image = fromarray(np.ascontiguousarray(mask))
    image.putpalette(palette().reshape(-1).tolist())  # "L" becomes "P"
    image.save(os.fspath(file))


def palette() -> NDArray[np.uint8]:
    """Return 256 colours, shape ``(256, 3)``: the palette of Pascal VOC.

    The bits of a class are dealt to red, green and blue, the lowest to the highest.
    """
    classes = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((classes >> channel) & 1) << (7 - bit)).astype(np.uint8)
        classes = classes >> 3
    return colors


def _pixels(path: str) -> NDArray[Any]:
    from PIL import Image, ImageOps

    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such mask.")
    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            if turned.mode in ("LA", "PA"):
                turned = turned.getchannel(0)
            elif turned.mode not in ("1", "L", "P", "RGB") and not turned.mode.startswith("I"):
                turned = turned.convert("RGB")
            pixels = np.asarray(turned)
    except Exception as error:  # a broken file may raise anything
        raise DataError(f"{path}: the mask cannot be read ({first_line(error)}).") from None
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _by_color(values: NDArray[Any], path: str, coding: MaskCoding) -> Mask:
    packed = values.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    colors = [(int(one) >> 16, (int(one) >> 8) & 255, int(one) & 255) for one in np.unique(packed)]
    if coding.color_map is None:
        raise DataError(
            f"{path}: an RGB mask, with the colours {_few(colors)}. Say which class each is, with "
            "color_map: {name: [r, g, b]}; or save it as a palette or grey image of classes."
        )
    unknown = [color for color in colors if color not in coding.color_map]
    if unknown:
        raise DataError(f"{path}: the colours {_few(unknown)} are not in color_map.")
    mask = np.zeros(packed.shape, dtype=np.uint8)
    for index, (red, green, blue) in enumerate(coding.color_map):
        mask[packed == (red << 16 | green << 8 | blue)] = index
    return mask


def _color(written: Any, name: str) -> tuple[int, int, int]:
    if not isinstance(written, Sequence) or len(written) != 3:
        raise ConfigError(f"color_map: {name}: {written!r} is no colour [r, g, b].")
    red, green, blue = (int(one) for one in written)
    return red, green, blue


def _few(values: Sequence[Any]) -> str:
    rest = len(values) - _LISTED
    text = ", ".join(map(str, values[:_LISTED]))
    return f"{text}, ... ({rest} more)" if rest > 0 else text
