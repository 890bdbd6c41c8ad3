"""open_dataset: one dataset from folders and lists, told apart by their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basetrainer.datasets.class_names import ClassList, ClassNames
from basetrainer.datasets.csv_list import list_csv
from basetrainer.datasets.image_dataset import ImageDataset, OnBroken, Transform
from basetrainer.datasets.image_folder import StrPath, list_folder, missing
from basetrainer.datasets.index import ImageIndex, Listing
from basetrainer.datasets.text_list import list_text
from basetrainer.errors import ConfigError


def open_dataset(
    data: StrPath | Sequence[StrPath],
    transform: Transform | None = None,
    *,
    class_names: ClassNames | ClassList | None = None,
    like: ImageDataset | None = None,
    root: StrPath | None = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    separator: str = "|",
    as_pil: bool | None = None,
    on_broken: OnBroken = "raise",
) -> ImageDataset:
    """Open image data by its path.

    A folder is read as by ImageFolder, ``.txt`` as by TextList, ``.csv`` and ``.tsv`` as by
    CsvList. Several are joined in their order, with one list of classes: the union of their class
    names in natural order, unless ``class_names`` or ``like`` says otherwise.

    Args:
        data: A folder or list file, or several.
        transform: Called with each image; see ImageDataset, also for ``as_pil``.
        class_names: The classes: list, file with one name a line, or dict of name -> index.
        like: The training set that this one is to test: its classes, with their indices, are the
            classes; a label that it does not have is an error. Instead of ``class_names``.
        root: Folder that relative paths of list files start from; None: that of each file.
        path_column: Of CSV files, see CsvList.
        label_column: Of CSV files, see CsvList.
        separator: Of CSV files, see CsvList.
        as_pil: Whether the transform gets Pillow images; None decides by its type.
        on_broken: What a missing or unreadable image does: "raise" or "skip".

    Raises:
        ConfigError: If there is no path, one is missing or of no known kind, a label means no
            class, or both ``class_names`` and ``like`` are given.
        DataError: If a list file cannot be read.
    """
    is_list = isinstance(data, Sequence) and not isinstance(data, str)
    paths: list[Any] = list(data) if is_list else [data]  # type: ignore[arg-type]
    if not paths or not all(path and isinstance(path, (str, os.PathLike)) for path in paths):
        raise ConfigError(
            f"{data!r} names no data: give a folder of class folders, a .txt or .csv list, or "
            "several of them in a list. (Only test_data may have sets by name.)"
        )
    if class_names is not None and like is not None:
        raise ConfigError("Both class_names and like are given: give one, they say the same.")
    classes = like.index.classes if like is not None else None
    if class_names is not None:
        classes = ClassList.read(class_names)

    def listing(path: StrPath) -> Listing:
        kind = Path(path).suffix.lower()
        if Path(path).is_dir():
            return list_folder(path)
        if kind == ".txt":
            return list_text(path, root)
        if kind in (".csv", ".tsv"):
            return list_csv(
                path,
                root,
                path_column=path_column,
                label_column=label_column,
                separator=separator,
                multi_label=None if like is None else like.index.multi_label,
            )
        problem = (
            f"{os.fspath(path)}: of no known kind." if Path(path).is_file() else missing(Path(path))
        )
        raise ConfigError(f"{problem} Data is a folder of class folders, or a .txt or .csv list.")

    try:
        index = ImageIndex([listing(path) for path in paths], classes)
    except ConfigError as error:
        if like is None:
            raise
        raise ConfigError(
            f"{error} (The classes are those of the training set, {', '.join(like.index.sources)}.)"
        ) from None
    if like is not None and like.index.multi_label != index.multi_label:
        kinds = {True: "several labels", False: "one label"}
        raise ConfigError(
            f"{', '.join(index.sources)} has {kinds[index.multi_label]} an image, the training set "
            f"{', '.join(like.index.sources)} has {kinds[like.index.multi_label]}."
        )
    return ImageDataset(index, transform, as_pil=as_pil, on_broken=on_broken)
