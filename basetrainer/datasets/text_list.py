"""Text lists: one ``path label`` a line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from basetrainer.datasets.class_names import ClassList, ClassNames, read_text
from basetrainer.datasets.decode import IMAGE_SUFFIXES
from basetrainer.datasets.image_dataset import ImageDataset, OnBroken, Transform
from basetrainer.datasets.image_folder import StrPath, missing
from basetrainer.datasets.index import ImageIndex, Listing
from basetrainer.errors import ConfigError, DataError

_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
_LINE = re.compile(rf"(?P<path>.*(?:{_SUFFIX}))[\s,]+(?P<label>.*\S)", re.IGNORECASE)


class TextList(ImageDataset):
    """Images named by a text file, one ``path label`` a line.

    The path ends at the last image ending (``.jpg``, ...) that white space or a comma follows, so
    paths and class names may hold spaces; a file with another ending ends at the last white space.
    Empty lines are ignored. The label is a class name or an index; with ``class_names``
    that are numbers themselves, the name counts.

    Args:
        file: The list, UTF-8.
        transform: See :class:`ImageDataset`, also for ``as_pil`` and ``on_broken``.
        class_names: The classes: list, file with one name a line, or dict of name -> index. None
            takes them from the labels.
        root: Folder that relative paths start from; None: the folder of ``file``.
        as_pil: Whether the transform gets Pillow images; None decides by its type.
        on_broken: "raise" or "skip".

    Raises:
        ConfigError: If the list is missing or empty, none of its files exists below ``root``, or a
            label means no class.
        DataError: If a line cannot be read; names file and line.
    """

    def __init__(
        self,
        file: StrPath,
        transform: Transform | None = None,
        class_names: ClassNames | ClassList | None = None,
        *,
        root: StrPath | None = None,
        as_pil: bool | None = None,
        on_broken: OnBroken = "raise",
    ) -> None:
        classes = None if class_names is None else ClassList.read(class_names)
        index = ImageIndex([list_text(file, root)], classes)
        super().__init__(index, transform, as_pil=as_pil, on_broken=on_broken)


def list_text(file: StrPath, root: StrPath | None = None) -> Listing:
    """List the images of a text file.

    Raises:
        ConfigError: If the file is missing or none of the images exists.
        DataError: If a line cannot be read; names file and line.
    """
    text = read_text(existing_file(file))

    def rows() -> Iterator[tuple[str, Sequence[str], int]]:
        for line, content in enumerate(text.split("\n"), 1):
            if content.strip():
                path, label = _split(content.strip(), f"{os.fspath(file)}, line {line}")
                yield path, (label,), line

    listing = Listing(os.fspath(file), root_of(file, root), rows())
    check_some_exist(listing)
    return listing


def existing_file(file: StrPath) -> Path:
    """Return the path of a list file.

    Raises:
        ConfigError: If there is no such file.
    """
    path = Path(file)
    if not path.is_file():
        raise ConfigError(missing(path) if not path.exists() else f"{path}: this is not a file.")
    return path


def root_of(file: StrPath, root: StrPath | None) -> str:
    """Return the folder that relative paths of a list start from.

    Raises:
        ConfigError: If ``root`` is given and is no folder.
    """
    if root is None:
        return str(Path(file).parent)
    if not Path(root).is_dir():
        raise ConfigError(f"root={os.fspath(root)!r} of {os.fspath(file)}: {missing(Path(root))}")
    return os.fspath(root)


def check_some_exist(listing: Listing) -> None:
    """Refuse a list read with the wrong root.

    Only three files are looked at, since a look costs a millisecond on a network disk.

    Raises:
        ConfigError: If neither the first, the middle nor the last image exists.
    """
    paths = listing.part.paths
    looked_at = (0, len(paths) // 2, len(paths) - 1) if len(paths) else ()
    if looked_at and not any(Path(paths.path(place)).exists() for place in looked_at):
        raise ConfigError(
            f"{listing.part.where(0)}: {missing(Path(paths.path(0)))} Nor do other files that "
            "were looked for: is root=... right (in a configuration: data_root), the folder that "
            "the paths start from?"
        )


def _split(content: str, where: str) -> tuple[str, str]:
    match = _LINE.fullmatch(content)
    if match:
        return match["path"].strip(), match["label"]
    words = content.rsplit(None, 1)
    if len(words) < 2:
        raise DataError(f"{where}: {content!r} has no label. Write 'path label' on each line.")
    return words[0], words[1]
