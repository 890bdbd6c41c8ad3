"""Images sorted into one folder per class."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from basetrainer._names import nearest
from basetrainer.datasets.class_names import ClassList, ClassNames, natural_key, shown
from basetrainer.datasets.decode import is_image_name, warn_of_unread
from basetrainer.datasets.image_dataset import ImageDataset, OnBroken, Transform
from basetrainer.datasets.index import ImageIndex, Listing
from basetrainer.errors import ConfigError

StrPath: TypeAlias = "str | os.PathLike[str]"

logger = logging.getLogger(__name__)

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Names of folders that hold class folders, rather than being ones."""


class ImageFolder(ImageDataset):
    """Images below ``<root>/<class>/``, at any depth.

    The classes are the folders' names in natural order (``class2`` before ``class10``), the
    samples of a class are ordered by path. Hidden files and folders (``.name``) are ignored, as are
    files without the ending of an image; links to folders are followed.

    Args:
        root: The folder, or several whose classes are joined by name.
        transform: See :class:`ImageDataset`, also for ``as_pil`` and ``on_broken``.
        class_names: The classes: list, file with one name a line, or dict of folder -> index. None
            takes them from the folders.
        as_pil: Whether the transform gets Pillow images; None decides by its type.
        on_broken: "raise" or "skip".

    Raises:
        ConfigError: If a folder is missing, holds no class folder, a class folder holds no image or
            is not among ``class_names``.
    """

    def __init__(
        self,
        root: StrPath | Sequence[StrPath],
        transform: Transform | None = None,
        class_names: ClassNames | ClassList | None = None,
        *,
        as_pil: bool | None = None,
        on_broken: OnBroken = "raise",
    ) -> None:
        roots = [root] if isinstance(root, (str, os.PathLike)) else list(root)
        classes = None if class_names is None else ClassList.read(class_names)
        index = ImageIndex([list_folder(folder) for folder in roots], classes)
        super().__init__(index, transform, as_pil=as_pil, on_broken=on_broken)


def list_folder(root: StrPath) -> Listing:
    """List the images of a folder of class folders.

    Raises:
        ConfigError: If it is missing, holds no class folder or one of them holds no image.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ConfigError(f"{missing(folder)} Give a folder of class folders.")
    classes = sorted((entry.name for entry in _visible(folder) if entry.is_dir()), key=natural_key)
    if not classes:
        raise ConfigError(
            f"{folder}: no class folder in it, {_found(folder)}. Sort the images into "
            f"{folder / '<class name>'}, or give a list file (.txt, .csv)."
        )
    if len(classes) > 1 and all(name.lower() in _SPLITS for name in classes):
        logger.warning(
            "%s: its class folders are called %s. Was %s meant?",
            folder,
            ", ".join(classes),
            folder / classes[0],
        )

    others: list[str] = []

    def rows() -> Iterator[tuple[str, Sequence[str], int]]:
        for name in classes:
            images = sorted(_images(folder / name, name, others))
            if not images:
                raise ConfigError(
                    f"{folder / name}: no image in this class folder, {_found(folder / name)}. "
                    "Fill it, or remove it."
                )
            for path in images:
                yield path, (name,), 0
        warn_of_unread(others, os.fspath(root))

    return Listing(os.fspath(root), os.fspath(root), rows(), label_names=classes)


def missing(path: Path) -> str:
    """Return what to say of a path that is not there: how far it exists, and what is alike."""
    present = next((parent for parent in path.parents if parent.is_dir()), None)
    if path.exists() or present is None:
        return f"{path}: this is not a folder." if path.exists() else f"{path}: does not exist."
    wanted = path.relative_to(present).parts[0]
    names = sorted(entry.name for entry in _visible(present))
    suggestion = nearest(wanted, names)
    hint = f" Did you mean {os.fspath(present / suggestion)!r}?" if suggestion else ""
    return (
        f"{path}: does not exist.{hint} {os.fspath(present)!r} holds: {shown(names) or 'nothing'}."
    )


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _images(folder: Path, prefix: str, others: list[str]) -> Iterator[str]:
    """Yield the images below ``folder`` as paths that begin with ``prefix``.

    The names of its other files are added to ``others``.
    """
    pending = [(folder, prefix)]
    seen: set[tuple[int, int]] = set()
    while pending:
        current, name = pending.pop()
        status = current.stat()
        if (status.st_dev, status.st_ino) in seen and status.st_ino:
            continue  # a link to a folder that we are in: following it would never end
        seen.add((status.st_dev, status.st_ino))
        for entry in _visible(current):
            path = f"{name}/{entry.name}"
            if entry.is_dir():
                pending.append((current / entry.name, path))
            elif is_image_name(entry.name):
                yield path
            else:
                others.append(entry.name)


def _found(folder: Path) -> str:
    """Return what a folder without what we look for holds."""
    names = sorted(entry.name for entry in _visible(folder))
    if not names:
        return "it is empty"
    images = sum(map(is_image_name, names))
    kind = f"{images} images and {len(names) - images} other entries" if images else "no image"
    return f"it holds {kind}: {shown(names[:5])}{', ...' if len(names) > 5 else ''}"
