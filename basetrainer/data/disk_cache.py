"""cache: disk. The decoded, resized images of a dataset in one file that all processes share."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from basetrainer.data.pixel_file import Entry, PixelFile, Table, write_pixels
from basetrainer.datasets.decode import read_tensor
from basetrainer.datasets.fixed_steps import FixedSteps
from basetrainer.datasets.image_dataset import ImageDataset, Transform
from basetrainer.errors import ConfigError, DataError, StorageError
from basetrainer.utils.file_utils import create_dir, remove_stale_temporaries
from basetrainer.utils.posix import num_cores, one_at_a_time

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=ImageDataset)

_FILE = "images"
_CHUNK = 8  # images of one task of a thread
_TELL_EVERY = 30.0  # seconds


class DiskCache:
    """The images of a dataset, decoded and resized; what ``ImageDataset.cache`` takes.

    Args:
        images: The images, in the order of the dataset.
        steps: What was done to them.
    """

    def __init__(self, images: PixelFile, steps: FixedSteps) -> None:
        self.images = images
        self._steps = steps
        self._told = False

    def rest_of(self, transform: Transform | None) -> tuple[bool, Transform | None]:
        """Return whether the images serve a transform, and what of it is still to be done."""
        serves, rest = self._steps.rest_of(transform)
        if not serves and not self._told:
            self._told = True
            logger.warning(
                "the transform was replaced by one that the cached images do not fit (they are %s):"
                " images are read from their files again",
                self._steps.name,
            )
        return serves, rest

    def read(self, place: int) -> Tensor | None:
        """Return an image, uint8, shape ``(3, H, W)``; None if it could not be read."""
        return self.images.read(place) if self.images.has(place) else None


def cache_images(
    dataset: D,
    cache: str | None = "disk",
    folder: str | os.PathLike[str] = "cache",
    *,
    size: int | None = None,
) -> D:
    """Let a dataset read its images decoded and resized from one file, built at the first use.

    What is kept is each image after the steps at the beginning of the transform that bring it to a
    size and draw nothing (``resize``, ``center_crop``): samples are then, bit for bit, those
    without a cache. See :class:`~basetrainer.datasets.fixed_steps.FixedSteps` for other transforms.

    One process builds while others wait; a file is complete or not there. When it is opened, the
    list of images and each file's size and time of change are compared: after any difference it is
    built anew. While it is in use, changed files are not noticed.

    Args:
        dataset: Gets :attr:`~basetrainer.datasets.image_dataset.ImageDataset.cache`.
        cache: "disk", or None to change nothing.
        folder: Where the files go, a folder for each source, root of its paths and steps; never
            into that of the images unless it is given.
        size: Pixels of the shorter side of images kept before a random crop; 0 keeps them as they
            are, None is twice the side of a crop that is resized, and as they are for others.

    Returns:
        The dataset.

    Raises:
        ConfigError: If ``cache`` is something else, the folder cannot be made, or the dataset's
            class has a ``read`` of its own.
        DataError: If an image cannot be read, unless the dataset skips such.
        StorageError: If there is no room; nothing is left then.
    """
    if cache is None:
        return dataset
    if cache != "disk":
        raise ConfigError(f"cache={cache!r}: it is 'disk', or null for none.")
    if type(dataset).read is not ImageDataset.read:
        raise ConfigError(
            f"{type(dataset).__name__} has a read() of its own, which a cache cannot stand in for."
        )
    steps = FixedSteps(dataset.transform, size)
    dataset.cache = DiskCache(_opened(dataset, Path(folder), steps), steps)
    return dataset


def _opened(dataset: ImageDataset, folder: Path, steps: FixedSteps) -> PixelFile:
    """Return the images from the file, which is built if need be."""
    place = folder / _folder_name(dataset, steps)
    create_dir(place)
    paths, stamps = _looked_at(dataset)
    notes = {"paths": paths, "steps": steps.name}
    with one_at_a_time(place, lambda: logger.info("waiting: another process builds %s", place)):
        images, why = _usable(place / _FILE, dataset, notes, stamps)
        if images is None:
            _build(place, dataset, steps, notes, why)
            images = PixelFile(place / _FILE)
        else:
            logger.info("cache   : %s of %s", _amount(images, steps), place)
    if dataset.on_broken == "raise":
        for number in range(len(images)):
            if not images.has(number):
                read_tensor(dataset.index.path(number))  # says what is wrong with it
    return images


def _folder_name(dataset: ImageDataset, steps: FixedSteps) -> str:
    """Return a name for these images and steps, the same in every run.

    One list may name other images below another root; those it names now are not in it, so that a
    list that grows does not leave its old files behind.
    """
    index = dataset.index
    places = [str(Path(one).resolve()) for one in (*index.sources, *index.roots)]
    digest = hashlib.sha256("\0".join([*places, steps.name]).encode()).hexdigest()
    return f"{Path(places[0]).stem}-{digest[:12]}"


def _looked_at(dataset: ImageDataset) -> tuple[str, Table]:
    """Return a hash of the list of images, and size and time of change of each file."""
    digest, stamps = hashlib.sha256(), np.empty((len(dataset), 2), dtype=np.int64)
    for number, path in enumerate(dataset.paths):
        digest.update(os.fsencode(os.path.abspath(path)) + b"\0")  # noqa: PTH100 # no link followed
        stamps[number] = _stamp(path)
    return digest.hexdigest(), stamps


def _usable(
    path: Path, dataset: ImageDataset, notes: dict[str, str], stamps: Table
) -> tuple[PixelFile | None, str]:
    """Return the file if it holds what is wanted; else why not."""
    if not path.exists():
        return None, "it is not there yet"
    try:
        images = PixelFile(path)
    except DataError as error:
        return None, str(error)
    if notes.items() - images.notes.items():
        return None, "the list of images is another"
    (changed,) = np.nonzero((stamps != images.stamps).any(axis=1))
    if len(changed):
        first = dataset.index.path(int(changed[0]))
        return None, f"{len(changed)} of {len(stamps)} images have changed, the first is {first}"
    return images, ""


def _build(
    place: Path, dataset: ImageDataset, steps: FixedSteps, notes: dict[str, str], why: str
) -> None:
    logger.info("cache   : building %s of %d images (%s): %s", place, len(dataset), steps.name, why)
    begin = time.monotonic()
    remove_stale_temporaries(place)  # of a build that was killed
    num_bytes = steps.num_pixels * 3 * len(dataset)
    try:
        create_dir(place)  # who built before us and failed took it away
        write_pixels(place / _FILE, lambda: _decoded(dataset, steps), notes, num_bytes)
    except StorageError as error:
        told = StorageError(f"{error} Or give another cache_dir, or leave cache: disk out.")
        told.errno = error.errno
        raise told from error
    finally:
        with contextlib.suppress(OSError):
            place.rmdir()  # only if nothing came of it
    amount = _amount(PixelFile(place / _FILE), steps)
    logger.info("cache   : %s in %s, built in %.1f s", amount, place, time.monotonic() - begin)


def _decoded(dataset: ImageDataset, steps: FixedSteps) -> Iterator[Entry]:
    """Yield the images in order, decoded by as many threads as there are cores."""

    def entry(number: int) -> Entry:
        path = dataset.index.path(number)
        stamp = _stamp(path)  # before it is read: a change in between shows at the next use
        try:
            return Entry(steps(read_tensor(path)), stamp)
        except DataError:
            if dataset.on_broken == "raise":
                dataset.read(number)  # says who lists it and how to mend it
            return Entry(None, stamp)

    def chunk(first: int) -> list[Entry]:
        return [entry(number) for number in range(first, min(first + _CHUNK, len(dataset)))]

    num_threads = num_cores()
    waiting: deque[Future[list[Entry]]] = deque()
    told = time.monotonic()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for first in range(0, len(dataset), _CHUNK):
                waiting.append(pool.submit(chunk, first))
                if len(waiting) > 2 * num_threads:
                    yield from waiting.popleft().result()
                if time.monotonic() - told > _TELL_EVERY:
                    told = time.monotonic()
                    logger.info("cache   : %d of %d images", first, len(dataset))
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _stamp(path: str) -> tuple[int, int]:
    """Return size and time of change of a file; of one that is not there, -1."""
    try:
        status = os.stat(path)  # noqa: PTH116 # half the time of Path(path).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _amount(images: PixelFile, steps: FixedSteps) -> str:
    size = images.num_bytes
    unit = min(max(int(math.log10(max(size, 1))) // 3, 1), 3)
    number = f"{size / 1000**unit:.3g} {['kB', 'MB', 'GB'][unit - 1]}"
    exact = "" if steps.is_exact else "; crops are cut out of these"
    return f"{len(images)} images, {number} ({steps.name}{exact})"
