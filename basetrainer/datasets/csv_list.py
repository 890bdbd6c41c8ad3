"""CSV tables: one image a row, with one label or several."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence

from basetrainer._names import nearest
from basetrainer.datasets.class_names import ClassList, ClassNames, read_text, shown
from basetrainer.datasets.image_dataset import ImageDataset, OnBroken, Transform
from basetrainer.datasets.image_folder import StrPath
from basetrainer.datasets.index import ImageIndex, Listing
from basetrainer.datasets.text_list import check_some_exist, existing_file, root_of
from basetrainer.errors import ConfigError, DataError

_PATH_COLUMNS = ("path", "image", "file", "filename", "image_path", "file_name", "img", "filepath")
_LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "class_name", "tags")
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "": False}


class CsvList(ImageDataset):
    """Images named by a table with a header, separated by comma, semicolon or tab.

    Three forms:

    - one label: a column with a class name or an index;
    - several labels in one column: ``cat|dog``, an empty cell for none;
    - a column of 0 and 1 for each class: the columns' names are the class names.

    Args:
        file: The table, UTF-8.
        transform: See :class:`ImageDataset`, also for ``as_pil`` and ``on_broken``.
        class_names: The classes: list, file with one name a line, or dict of name -> index. None
            takes them from the labels or, in the third form, from the columns.
        root: Folder that relative paths start from; None: the folder of ``file``.
        path_column: Column of the paths; None finds one called path, image, file, filename, ...
        label_column: Column of the labels, or a list of 0/1 columns. None finds one called label,
            class, target, ...; without one all further columns are taken, as 0/1 columns.
        separator: What stands between several labels of a cell.
        multi_label: Whether a cell may hold several labels or none; None: if any row does hold the
            separator.
        as_pil: Whether the transform gets Pillow images; None decides by its type.
        on_broken: "raise" or "skip".

    Raises:
        ConfigError: If the file is missing or empty, a column is not there, none of the images
            exists below ``root``, or a label means no class.
        DataError: If a row has another number of cells than the header, lacks its label, or a 0/1
            column holds something else; names file and line.
    """

    def __init__(
        self,
        file: StrPath,
        transform: Transform | None = None,
        class_names: ClassNames | ClassList | None = None,
        *,
        root: StrPath | None = None,
        path_column: str | None = None,
        label_column: str | Sequence[str] | None = None,
        separator: str = "|",
        multi_label: bool | None = None,
        as_pil: bool | None = None,
        on_broken: OnBroken = "raise",
    ) -> None:
        classes = None if class_names is None else ClassList.read(class_names)
        listing = list_csv(
            file,
            root,
            path_column=path_column,
            label_column=label_column,
            separator=separator,
            multi_label=multi_label,
        )
        super().__init__(
            ImageIndex([listing], classes), transform, as_pil=as_pil, on_broken=on_broken
        )


def list_csv(
    file: StrPath,
    root: StrPath | None = None,
    *,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    separator: str = "|",
    multi_label: bool | None = None,
) -> Listing:
    """List the images of a table; see :class:`CsvList` for arguments and errors."""
    name = os.fspath(file)
    text = read_text(existing_file(file))
    header, *rows = _cells(text, name) or [([], 0)]
    columns = [cell.strip() for cell in header[0]]
    path_at = _find(columns, path_column, _PATH_COLUMNS, name, "path_column")
    labels_at, are_flags = _label_columns(columns, path_at, label_column, name)
    if multi_label is None or are_flags:
        multi_label = are_flags or any(separator in cells[labels_at[0]] for cells, _ in rows)
    multi = multi_label

    def labelled() -> Iterator[tuple[str, Sequence[str], int]]:
        for cells, line in rows:
            where = f"{name}, line {line}"
            if not cells[path_at].strip():
                raise DataError(f"{where}: column {columns[path_at]!r} is empty: which image?")
            if are_flags:
                labels = [columns[at] for at in labels_at if _flag(cells[at], columns[at], where)]
            else:
                parts = cells[labels_at[0]].split(separator) if multi else [cells[labels_at[0]]]
                labels = [part.strip() for part in parts if part.strip()]
            if not labels and not multi:
                raise DataError(f"{where}: column {columns[labels_at[0]]!r} is empty: no label.")
            yield cells[path_at].strip(), labels, line

    label_names = [columns[at] for at in labels_at] if are_flags else ()
    listing = Listing(
        name, root_of(file, root), labelled(), label_names=label_names, multi_label=multi
    )
    check_some_exist(listing)
    return listing


def _cells(text: str, name: str) -> list[tuple[list[str], int]]:
    """Return the cells of each row that is not empty, with its line."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[list[str], int]] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if rows and len(cells) != len(rows[0][0]):
                raise DataError(
                    f"{name}, line {reader.line_num}: {len(cells)} cells, but the header has "
                    f"{len(rows[0][0])}. Quote cells that hold {delimiter!r}."
                )
            rows.append((cells, reader.line_num))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: not a CSV row ({error}).") from None
    return rows


def _find(
    columns: Sequence[str], wanted: str | None, usual: Sequence[str], name: str, key: str
) -> int:
    """Return the place of the wanted column or, without a wish, of the first usual one."""
    lowered = [column.lower() for column in columns]
    for candidate in usual if wanted is None else (wanted.lower(),):
        if candidate in lowered:
            return lowered.index(candidate)
    if wanted is None:
        expected = f"none of its columns is called {', '.join(usual)}"
    else:
        suggestion = nearest(wanted, columns)
        hint = f" (did you mean {suggestion!r}?)" if suggestion else ""
        expected = f"it has no column {wanted!r}{hint}"
    raise ConfigError(
        f"{name}: {expected}. Its header, line 1, has: {shown(columns) or 'nothing'}. Give "
        f"{key}=... or mend the header."
    )


def _label_columns(
    columns: Sequence[str], path_at: int, wanted: str | Sequence[str] | None, name: str
) -> tuple[list[int], bool]:
    """Return the places of the label columns, and whether they are 0/1 columns."""
    if isinstance(wanted, str):
        return [_find(columns, wanted, (), name, "label_column")], False
    if wanted is not None:
        return [_find(columns, column, (), name, "label_column") for column in wanted], True
    others = [at for at in range(len(columns)) if at != path_at]
    lowered = [columns[at].lower() for at in others]
    if any(usual in lowered for usual in _LABEL_COLUMNS) or not others:
        return [_find(columns, None, _LABEL_COLUMNS, name, "label_column")], False
    return others, True


def _flag(cell: str, column: str, where: str) -> bool:
    try:
        return _FLAGS[cell.strip()]
    except KeyError:
        raise DataError(
            f"{where}: column {column!r} holds {cell!r}, a column for each class holds 0 or 1. "
            "Give label_column=... if another column is the label."
        ) from None
