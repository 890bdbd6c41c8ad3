"""PixelFile: many uint8 images in one file, read through one memory map."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basetrainer.errors import DataError, LoaderError
from basetrainer.utils.file_utils import write_atomically

Table: TypeAlias = NDArray[np.int64]

_END = b"basetrainer pixels 1\n"


class Entry(NamedTuple):
    """One image of the file that is being written."""

    pixels: Tensor | None
    """uint8, shape ``(3, H, W)``; None where the image cannot be read."""

    stamp: tuple[int, int]
    """Size and time of change of the file that it is from."""


class PixelFile:
    """Images of a file that :func:`write_pixels` wrote.

    Workers, ranks and runs share the pages that the system keeps of the file; pickling sends its
    path, and the map is made anew at the first read.

    Args:
        path: The file.

    Raises:
        DataError: If it is none of ours, or not whole.

    Attributes:
        notes: What was given to :func:`write_pixels`.
        stamps: Size and time of change of each image's file, int64, shape ``(N, 2)``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes, self._shapes, self.stamps = _read_tables(path)
        self._ends: Table = (3 * self._shapes.prod(axis=1)).cumsum()
        self._pixels: NDArray[np.uint8] | None = self._mapped()

    def __len__(self) -> int:
        """Return the number of images, those that could not be read included."""
        return len(self._shapes)

    @property
    def num_bytes(self) -> int:
        """How much the pixels take."""
        return int(self._ends[-1]) if len(self) else 0

    def has(self, place: int) -> bool:
        """Whether the image could be read when the file was written."""
        return bool(self._shapes[place, 0])

    def read(self, place: int) -> Tensor:
        """Return a copy of an image, uint8, shape ``(3, H, W)``; the place is from 0.

        Raises:
            LoaderError: If the file has been replaced since.
        """
        if self._pixels is None:
            self._pixels = self._mapped()
        height, width = self._shapes[place].tolist()
        end = int(self._ends[place])
        # A copy: what changes it in place must not change what the next epoch reads.
        image = self._pixels[end - 3 * height * width : end].copy()
        return torch.from_numpy(image).view(3, height, width)

    def _mapped(self) -> NDArray[np.uint8]:
        if _read_tables(self.path)[0] != self.notes:
            raise LoaderError(
                f"{self.path}: the cache was built anew while it was in use, since the images had "
                "changed. Start the training again."
            )
        # A plain array over the map: slices of a memmap are three times as slow.
        return np.memmap(self.path, dtype=np.uint8, mode="r").view(np.ndarray)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # else the pixels themselves would be sent


def write_pixels(
    path: Path,
    images: Callable[[], Iterator[Entry]],
    notes: dict[str, Any],
    num_bytes: int = 0,
) -> None:
    """Write images to a file, which appears when it is whole.

    Args:
        path: The file; its folder must exist.
        images: Called once; yields the images in order.
        notes: What the reader shall know, as JSON has it; gets a unique ``id``.
        num_bytes: How much the pixels take, if that is known.

    Raises:
        StorageError: If there is no room. What ``images`` raises is passed on. Nothing is left.
    """

    def write(file: BinaryIO) -> None:
        shapes, stamps = [], []
        for pixels, stamp in images():
            shapes.append((0, 0) if pixels is None else tuple(pixels.shape[1:]))
            stamps.append(stamp)
            if pixels is not None:
                file.write(pixels.contiguous().numpy().data)
        start = file.tell()
        text = json.dumps({**notes, "id": secrets.token_hex(8)}).encode()
        np.save(file, np.frombuffer(text, dtype=np.uint8), allow_pickle=False)
        for table in (shapes, stamps):
            np.save(file, np.array(table, dtype=np.int64).reshape(-1, 2), allow_pickle=False)
        file.write(start.to_bytes(8, "little") + _END)

    write_atomically(path, write, num_bytes)


def _read_tables(path: Path) -> tuple[dict[str, Any], Table, Table]:
    """Return notes, shapes and stamps, which stand behind the pixels."""
    try:
        with path.open("rb") as file:
            file.seek(-(8 + len(_END)), 2)
            end = file.read()
            if end[8:] != _END:
                raise DataError(f"{path}: this is no whole file of cached images.")
            file.seek(int.from_bytes(end[:8], "little"))
            text, shapes, stamps = (np.load(file, allow_pickle=False) for _ in range(3))
            return json.loads(text.tobytes()), shapes, stamps
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: the cached images cannot be read ({error}).") from None
