"""One index of images and labels behind all formats: arrays, not a list of objects."""

from __future__ import annotations

import bisect
import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from basetrainer.datasets.class_names import ClassList, is_index, natural_key
from basetrainer.datasets.path_table import LazySequence, PathTable
from basetrainer.errors import ConfigError

IntArray: TypeAlias = NDArray[np.int64]


class Sample(NamedTuple):
    """One image of an index."""

    path: str
    label: int | NDArray[np.uint8]
    """Class index, or 0/1 for each class, shape ``(C,)``."""
    where: str
    """The list file and line that name it, or the folder it lies in; for messages."""


class Part(NamedTuple):
    """The images of one folder or list file."""

    source: str
    paths: PathTable
    lines: NDArray[np.int32]

    def where(self, place: int) -> str:
        """Return the file and line, or the folder, that names an image."""
        line = int(self.lines[place])
        return f"{self.source}, line {line}" if line else str(Path(self.paths.path(place)).parent)


class Listing:
    """What one folder or list file says, its labels still as written.

    Args:
        source: The folder or file.
        root: Folder that relative paths start from.
        rows: ``(path, labels, line)`` of each image; line 0 means that there is none.
        label_names: Labels that are known to be class names, whether an image has them or not:
            folders, columns of a table. With them no label is read as an index.
        multi_label: Whether an image may have several labels or none.

    Attributes:
        labels: The distinct labels.
        codes: Places in ``labels``, for single labels one for each image.
        owners: The image that each of ``codes`` belongs to.
    """

    def __init__(
        self,
        source: str,
        root: str,
        rows: Iterable[tuple[str, Sequence[str], int]],
        *,
        label_names: Iterable[str] = (),
        multi_label: bool = False,
    ) -> None:
        known = {name: code for code, name in enumerate(label_names)}
        self.are_names = bool(known)
        self.multi_label = multi_label
        owners, codes, lines = array("q"), array("q"), array("i")

        def paths() -> Iterator[str]:
            for place, (path, labels, line) in enumerate(rows):
                for label in labels:
                    owners.append(place)
                    codes.append(known.setdefault(label, len(known)))
                lines.append(line)
                yield path

        table = PathTable(root, paths())
        self.part = Part(source, table, np.array(lines, dtype=np.int32))
        self.owners: IntArray = np.array(owners, dtype=np.int64)
        self.codes: IntArray = np.array(codes, dtype=np.int64)
        self.labels = tuple(known)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.part.paths)

    def where_label(self, label: str) -> str:
        """Return where a label is written first."""
        found = np.flatnonzero(self.codes == self.labels.index(label))
        return self.part.where(int(self.owners[found[0]])) if len(found) else self.part.source


class ImageIndex(LazySequence[Sample]):
    """Paths and labels of many images, from one or several folders and lists.

    Args:
        listings: What the folders and lists say; at least one.
        classes: The classes; None takes them from the labels: class names in natural order, or, if
            all labels are integers, 0 to the largest.

    Raises:
        ConfigError: If there is no image, a label means no class, or single labels are joined with
            multi-labels.

    Attributes:
        classes: Names and indices.
        targets: Class indices, int64, shape ``(N,)``; for multi-label 0/1, uint8, ``(N, C)``.
    """

    def __init__(self, listings: Sequence[Listing], classes: ClassList | None = None) -> None:
        self._ends = list(itertools.accumulate(map(len, listings)))
        if not listings or not self._ends[-1]:
            names = ", ".join(listing.part.source for listing in listings) or "an empty list"
            raise ConfigError(f"No image in {names}: give at least one folder or list with images.")
        self._parts = tuple(listing.part for listing in listings)
        self.multi_label = _is_multi_label(listings)
        self.classes = _infer_classes(listings) if classes is None else classes
        targets = [_targets(listing, self.classes) for listing in listings]
        self.targets: NDArray[Any] = np.concatenate(targets)

    @property
    def sources(self) -> tuple[str, ...]:
        """The folders and list files, in order."""
        return tuple(part.source for part in self._parts)

    @property
    def roots(self) -> tuple[str, ...]:
        """The folder that the relative paths of each source start from."""
        return tuple(part.paths.root for part in self._parts)

    @property
    def paths(self) -> Sequence[str]:
        """The paths alone."""
        return _Paths(self)

    def path(self, place: int) -> str:
        """Return the path at a place from 0 to ``len - 1``; cheaper than the whole sample."""
        part, local = self._locate(place)
        return part.paths.path(local)

    def class_counts(self) -> IntArray:
        """Return the number of images of each class, int64, shape ``(C,)``."""
        if self.multi_label:
            return np.asarray(self.targets.sum(axis=0, dtype=np.int64))
        counts = np.bincount(self.targets, minlength=len(self.classes.names))
        return counts.astype(np.int64)

    def __len__(self) -> int:
        """Return the number of images."""
        return self._ends[-1]

    def _item(self, place: int) -> Sample:
        part, local = self._locate(place)
        label = self.targets[place] if self.multi_label else int(self.targets[place])
        return Sample(part.paths.path(local), label, part.where(local))

    def _locate(self, place: int) -> tuple[Part, int]:
        number = bisect.bisect_right(self._ends, place)
        return self._parts[number], place - (self._ends[number - 1] if number else 0)


class _Paths(LazySequence[str]):
    def __init__(self, index: ImageIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    def _item(self, place: int) -> str:
        return self._index.path(place)


def _is_multi_label(listings: Sequence[Listing]) -> bool:
    kinds = {listing.multi_label: listing.part.source for listing in listings}
    if len(kinds) > 1:
        raise ConfigError(
            f"{kinds[True]} gives several labels to an image, {kinds[False]} one: they cannot be "
            "joined. Write the second as a multi-label table too."
        )
    return True in kinds


def _infer_classes(listings: Sequence[Listing]) -> ClassList:
    names = {
        label
        for listing in listings
        for label in listing.labels
        if listing.are_names or not is_index(label)
    }
    if names:
        return ClassList.of(sorted(names, key=natural_key))
    written = [(int(label), label, listing) for listing in listings for label in listing.labels]
    if not written:
        raise ConfigError(
            f"No image of {listings[0].part.source} has a label: give class_names or labels."
        )
    largest, label, listing = max(written, key=lambda entry: entry[0])
    num_images = sum(map(len, listings))
    if largest > 10 * num_images + 1000:
        # A column of identity numbers, most likely; that many outputs would fill the memory.
        raise ConfigError(
            f"{listing.where_label(label)}: label {label} would make {largest + 1} classes of "
            f"{num_images} images. Is this the label? If it is, give class_names."
        )
    return ClassList.of(map(str, range(max(largest, 0) + 1)))


def _targets(listing: Listing, classes: ClassList) -> NDArray[Any]:
    def id_of(label: str) -> int:
        return classes.id_of(label, lambda: listing.where_label(label), is_name=listing.are_names)

    ids = np.array([id_of(label) for label in listing.labels], dtype=np.int64)
    if not listing.multi_label:
        return np.asarray(ids[listing.codes])
    targets = np.zeros((len(listing), len(classes.names)), dtype=np.uint8)
    targets[listing.owners, ids[listing.codes]] = 1
    return targets
