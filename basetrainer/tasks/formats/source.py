"""Source: what a reader of one format returns, and how files are read for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from basetrainer.datasets.decode import IMAGE_SUFFIXES, is_image_name
from basetrainer.errors import DataError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.sample import RawImage

StrPath: TypeAlias = "str | os.PathLike[str]"


@dataclass
class Source:
    """What one file or folder of annotations says, before it is checked.

    Attributes:
        name: The file or folder.
        images: Its images.
        class_names: The class names it declares, in order; empty if labels alone tell them.
        original_ids: The id of each class in its file.
        point_names: The names of its key points.
        links: Pairs of key points that belong together.
        is_sure: Whether ``class_names`` is the whole list, so that another name is a fault.
    """

    name: str
    images: list[RawImage]
    class_names: tuple[str, ...] = ()
    original_ids: tuple[int, ...] = ()
    point_names: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = field(default=())
    is_sure: bool = False


def read_annotation_text(path: Path, faults: Faults) -> str | None:
    """Return the text of an annotation file, without a byte order mark; None after a fault."""
    try:
        content = path.read_bytes()
    except OSError as error:
        faults.add("file cannot be read", str(path), f"{error.strerror or error}.")
        return None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError:
            pass
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(
            "wrong encoding",
            f"{path}, line {line}",
            f"not UTF-8 text ({error.reason}). Save the file as UTF-8.",
        )
        return None


def read_json(path: Path, faults: Faults) -> Any:
    """Return what a JSON file holds; None after a fault."""
    text = read_annotation_text(path, faults)
    if text is None:
        return None
    if not text.strip():
        faults.add("empty file", str(path), "the file is empty. Export it again.")
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        faults.add("broken JSON", where, f"{error.msg}. Is the file cut? Export it again.")
    except RecursionError:
        faults.add("broken JSON", str(path), "it is nested too deeply to be annotations.")
    return None


def number(value: Any) -> float | None:
    """Return a finite or infinite number, None if it is none; true and false are none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def numbers(values: Any, count: int | None = None) -> list[float] | None:
    """Return a list of numbers, None if it is none or has not ``count`` of them."""
    if not isinstance(values, (list, tuple)) or (count is not None and len(values) != count):
        return None
    found = [number(value) for value in values]
    return None if any(one is None for one in found) else [one for one in found if one is not None]


def corners(flat: Sequence[float]) -> Any:
    """Return a polygon of shape ``(K, 2)`` from ``x, y, x, y, ...``."""
    import numpy as np

    return np.asarray(flat, dtype=np.float64).reshape(-1, 2)


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the images below a folder, in the order of their paths; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_image_name(path.name) and not path.name.startswith("."):
            yield path


def image_of_stem(folder: Path, stem: str) -> Path | None:
    """Return the image in a folder that has this name up to its ending, None if there is none."""
    for suffix in (*IMAGE_SUFFIXES_FIRST, *sorted(IMAGE_SUFFIXES)):
        for candidate in (folder / f"{stem}{suffix}", folder / f"{stem}{suffix.upper()}"):
            if candidate.is_file():
                return candidate
    return None


IMAGE_SUFFIXES_FIRST = (".jpg", ".png", ".jpeg")
"""The endings that are looked for first."""


def forward_slashes(path: str, faults: Faults) -> str:
    """Return a path as other systems write it; Windows separators are turned, and counted."""
    if "\\" not in path or os.sep == "\\":
        return path
    faults.note("paths with Windows separators, which were turned")
    return path.replace("\\", "/")


def write_json(file: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON as UTF-8; the folder is made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def refuse_empty(name: StrPath, images: Iterable[RawImage], faults: Faults, hint: str) -> None:
    """Refuse a source without any image.

    Raises:
        DataError: If there is none, and no fault that would say why.
    """
    if not any(True for _ in images) and not faults.found:
        raise DataError(f"{os.fspath(name)}: there is no annotated image in it. {hint}")
