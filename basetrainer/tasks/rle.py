"""Masks as run lengths, the form of the COCO annotations, and as polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OFFSET = 48  # the first character of compressed counts
_SHIFT, _DIGIT, _MORE, _SIGN = 5, 0x1F, 0x20, 0x10


@dataclass(frozen=True, eq=False)
class RLE:
    """A mask as the lengths of its runs, column by column, the first of zeros.

    Attributes:
        size: ``(width, height)``.
        counts: Run lengths, int64.
    """

    size: tuple[int, int]
    counts: NDArray[np.int64]

    @classmethod
    def read(cls, written: Any) -> RLE:
        """Read ``{"size": [height, width], "counts": [...] or "..."}``.

        Raises:
            ValueError: If it is not of that form, or its runs do not fill the size.
        """
        try:
            height, width = (int(side) for side in written["size"])
            counts = written["counts"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                "a run-length mask needs 'size': [height, width] and 'counts'"
            ) from None
        runs = decompress(counts) if isinstance(counts, (str, bytes)) else _as_runs(counts)
        if (runs < 0).any() or runs.sum() != width * height:
            raise ValueError(
                f"its runs cover {int(runs.sum())} pixels, but its size {width}x{height} has "
                f"{width * height}"
            )
        return cls((width, height), runs)

    @classmethod
    def of(cls, mask: NDArray[Any]) -> RLE:
        """Return the run lengths of a mask of shape ``(H, W)``."""
        height, width = mask.shape
        flat = np.asarray(mask, dtype=bool).reshape(-1, order="F")
        changes = np.flatnonzero(np.diff(flat)) + 1
        edges = np.concatenate([[0], changes, [flat.size]])
        runs = np.diff(edges)
        if flat.size and flat[0]:
            runs = np.concatenate([[0], runs])
        return cls((width, height), runs.astype(np.int64))

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask, shape ``(H, W)``."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.size, order="C").T

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int(self.counts[1::2].sum())

    def box(self) -> tuple[float, float, float, float] | None:
        """Return the box around the mask, None if it is empty."""
        rows, columns = np.nonzero(self.mask())
        if not len(rows):
            return None
        return (
            float(columns.min()),
            float(rows.min()),
            float(columns.max() + 1),
            float(rows.max() + 1),
        )

    def written(self) -> dict[str, Any]:
        """Return it as COCO files hold it, with compressed counts."""
        width, height = self.size
        return {"size": [height, width], "counts": compress(self.counts)}


def decompress(counts: str | bytes) -> NDArray[np.int64]:
    """Return the run lengths of a compressed string.

    Each number is written in digits of five bits, the lowest first, from the character ``0`` on; a
    sixth bit says that more follow, the fifth bit of the last digit is the sign. From the third
    number on the difference to the last but one is written.

    Raises:
        ValueError: If the string is cut or holds other characters.
    """
    raw = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for character in raw:
        digit = character - _OFFSET
        if not 0 <= digit < 2 * _MORE:
            raise ValueError(f"its counts hold the character {chr(character)!r}")
        value |= (digit & _DIGIT) << shift
        shift += _SHIFT
        if digit & _MORE:
            continue
        if digit & _SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its counts end in the middle of a number")
    return np.array(runs, dtype=np.int64)


def compress(counts: Sequence[int] | NDArray[np.int64]) -> str:
    """Return run lengths as the string that :func:`decompress` reads."""
    runs = [int(run) for run in counts]
    written: list[str] = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            digit = value & _DIGIT
            value >>= _SHIFT
            more = value != (-1 if digit & _SIGN else 0)
            written.append(chr((digit | (_MORE if more else 0)) + _OFFSET))
    return "".join(written)


def fill_polygons(
    polygons: Sequence[NDArray[np.float64]], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the pixels whose centres lie within polygons, shape ``(H, W)``.

    Within one polygon that crosses itself the even-odd rule decides; several are united.

    Args:
        polygons: Corners in pixels, each of shape ``(K, 2)``.
        size: ``(width, height)`` of the mask.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        mask |= _fill(np.asarray(polygon, dtype=np.float64), width, height)
    return mask


def _fill(polygon: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Fill one polygon: each edge flips all pixels to the right of it, row by row."""
    flips = np.zeros((height, width + 1), dtype=np.int32)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        low, high = min(y1, y2), max(y1, y2)
        # Rows whose centre r + 0.5 is in [low, high).
        first = max(int(np.ceil(low - 0.5)), 0)
        last = min(int(np.ceil(high - 0.5)), height)
        if first >= last:
            continue
        rows = np.arange(first, last)
        crossings = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
        columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
        np.add.at(flips, (rows, columns), 1)
    return (np.cumsum(flips, axis=1)[:, :width] % 2).astype(bool)


def polygon_area(polygons: Sequence[NDArray[np.float64]]) -> float:
    """Return the sum of the areas of polygons, each by the shoelace formula."""
    total = 0.0
    for polygon in polygons:
        x, y = polygon[:, 0], polygon[:, 1]
        total += abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return total


def polygon_box(
    polygons: Sequence[NDArray[np.float64]],
) -> tuple[float, float, float, float]:
    """Return the box around polygons."""
    corners = np.concatenate(polygons)
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def _as_runs(counts: Any) -> NDArray[np.int64]:
    try:
        runs = np.asarray(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("its counts are neither whole numbers nor a string") from None
    if runs.ndim != 1:
        raise ValueError("its counts are neither whole numbers nor a string")
    return runs
