"""YOLO text labels: one file an image, a line an object, coordinates as parts of the image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from basetrainer.errors import ConfigError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats.source import (
    Source,
    StrPath,
    corners,
    forward_slashes,
    image_files,
    number,
    read_annotation_text,
)
from basetrainer.tasks.rle import polygon_box
from basetrainer.tasks.sample import Object, RawImage

_PIXELS = 2.0  # a coordinate above this is no part of an image


def read(source: StrPath, phase: str | None = None, faults: Faults | None = None) -> Source:
    """Read YOLO labels.

    A line is ``class cx cy w h``; ``class x y x y x y ...`` is a polygon; with ``kpt_shape`` in
    the ``data.yaml`` the key points follow the box. An image without a label file has no object.

    Args:
        source: A ``data.yaml``; a folder of images; a folder that has ``images`` and ``labels``;
            or a text file with an image a line. The labels of ``.../images/a/b.jpg`` are
            ``.../labels/a/b.txt``, else ``b.txt`` beside the image.
        phase: Which entry of a ``data.yaml`` is read: ``train``, ``val`` or ``test``; None is all.
        faults: Where faults are recorded.

    Raises:
        ConfigError: If there is no such file, folder or entry.
    """
    path = Path(source)
    faults = Faults() if faults is None else faults
    settings: dict[str, Any] = {}
    if path.suffix.lower() in (".yaml", ".yml"):
        settings = _settings(path)
    elif path.is_dir():
        beside = (path / "data.yaml", path.parent / "data.yaml", path.parent.parent / "data.yaml")
        found = next((one for one in beside if one.is_file()), None)
        settings = _settings(found) if found is not None else {}
    elif not path.is_file():
        raise ConfigError(f"{path}: there is no such file or folder.")
    names = _names(settings, path)
    points = _point_shape(settings, path)
    images = list(_images(path, settings, phase, faults))
    reader = _Reader(faults, points)
    read_images = [one for image in images if (one := reader.image(*image)) is not None]
    num_points = points[0] if points else 0
    declared = settings.get("kpt_names")
    listed = declared.get(0, declared.get("0")) if isinstance(declared, dict) else declared
    is_fit = isinstance(listed, list) and len(listed) == num_points
    point_names = tuple(map(str, listed if is_fit and listed else range(num_points)))
    return Source(
        str(path), read_images, names, tuple(range(len(names))), point_names, is_sure=bool(names)
    )


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file.")
    try:
        found = yaml.safe_load(path.read_text("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})."
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: it holds no mapping. A data.yaml has path, train, val, names.")
    return found


def _names(settings: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = settings.get("names")
    if names is None:
        return ()
    if isinstance(names, dict):
        numbers = [number(one) for one in names]
        if sorted(one for one in numbers if one is not None) != list(range(len(names))):
            raise ConfigError(
                f"{path}: names has the numbers {list(names)}, but classes are numbered from 0 "
                "without a gap."
            )
        names = [name for _, name in sorted(names.items(), key=lambda entry: float(entry[0]))]
    if not isinstance(names, list):
        raise ConfigError(f"{path}: names is {names!r}, not a list of class names.")
    count = settings.get("nc")
    if count is not None and count != len(names):
        raise ConfigError(f"{path}: nc is {count!r}, but there are {len(names)} names.")
    return tuple(map(str, names))


def _point_shape(settings: dict[str, Any], path: Path) -> tuple[int, int] | None:
    shape = settings.get("kpt_shape")
    if shape is None:
        return None
    good = isinstance(shape, list) and len(shape) == 2 and shape[1] in (2, 3)
    if not good or not isinstance(shape[0], int) or shape[0] < 1:
        raise ConfigError(
            f"{path}: kpt_shape is {shape!r}, not [number of key points, 2 or 3 numbers of each]."
        )
    return shape[0], shape[1]


def _images(
    path: Path, settings: dict[str, Any], phase: str | None, faults: Faults
) -> Iterator[tuple[Path, str]]:
    """Yield each image, and what names it."""
    if path.is_dir():
        folder = path / "images" if (path / "images").is_dir() else path
        yield from ((image, str(image)) for image in image_files(folder))
        return
    if not settings:
        yield from _listed(path, faults)
        return
    base = Path(str(settings.get("path") or "."))
    base = base if base.is_absolute() else path.parent / base
    if not base.is_dir():
        base = path.parent  # written for the machine that it was exported on
    phases = [one for one in ("train", "val", "test") if settings.get(one)]
    if phase is not None:
        phases = [one for one in (phase, "val" if phase == "test" else phase) if one in phases][:1]
        if not phases:
            raise ConfigError(f"{path}: it has no entry {phase!r} that names images.")
    for one in phases:
        places = settings[one] if isinstance(settings[one], list) else [settings[one]]
        for place in places:
            target = base / forward_slashes(str(place), faults)
            if not target.exists() and str(place).startswith("../"):
                target = base / str(place)[3:]  # as exports of labelling services write it
            if target.is_dir():
                yield from ((image, str(image)) for image in image_files(target))
            elif target.is_file():
                yield from _listed(target, faults)
            else:
                raise ConfigError(f"{path}: {one}: {place!r}: there is no {target}.")


def _listed(path: Path, faults: Faults) -> Iterator[tuple[Path, str]]:
    text = read_annotation_text(path, faults) or ""
    for line, content in enumerate(text.splitlines(), 1):
        name = forward_slashes(content.strip(), faults)
        if name and not name.startswith("#"):
            yield path.parent / name, f"{path}, line {line}"


def label_file(image: Path) -> Path:
    """Return the label file of an image: below ``labels`` in place of the last ``images``."""
    parts = list(image.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts).with_suffix(".txt")
    return image.with_suffix(".txt")


class _Reader:
    def __init__(self, faults: Faults, points: tuple[int, int] | None) -> None:
        self.faults = faults
        self.points = points

    def image(self, path: Path, where: str) -> RawImage | None:
        """Read the labels of an image; None if its label file cannot be read."""
        image = RawImage(str(path), where)
        file = label_file(path)
        if not file.is_file():
            file = path.with_suffix(".txt")
        if not file.is_file():
            self.faults.note("images without a label file, taken as without objects")
            return image
        text = read_annotation_text(file, self.faults)
        if text is None:
            return None  # without its labels it would be taken for background
        before, pixels = len(self.faults), list[int]()
        for line, content in enumerate(text.splitlines(), 1):
            words = content.partition("#")[0].split()
            if words:
                one = self._object(words, f"{file}, line {line}", line, pixels)
                if one is not None:
                    image.objects.append(one)
        if pixels:
            what = (
                f"coordinates of {len(pixels)} lines are above 1: these look like pixels. YOLO "
                "labels are parts of the width and height, from 0 to 1. Divide them."
            )
            self.faults.add("values in pixels", f"{file}, line {pixels[0]}", what)
        image.is_faulty = len(self.faults) > before
        return image

    def _object(self, words: list[str], where: str, line: int, pixels: list[int]) -> Object | None:
        values = [number(word) for word in words]
        if any(value is None for value in values):
            wrong = next(word for word, value in zip(words, values, strict=True) if value is None)
            self.faults.add("broken line", where, f"{wrong!r} is no number.")
            return None
        label, *rest = (value for value in values if value is not None)
        if not label.is_integer():
            what = f"the class is {words[0]}, not a whole number. Is it 'class cx cy w h'?"
            self.faults.add("broken line", where, what)
            return None
        has_points = self.points is not None and len(rest) == 4 + self.points[0] * self.points[1]
        is_polygon = len(rest) >= 6 and len(rest) % 2 == 0
        if len(rest) != 4 and not has_points and not is_polygon:
            wanted = "5 (class cx cy w h), or 1 + 2 for each corner of a polygon"
            if self.points is not None:
                wanted += f", or {5 + self.points[0] * self.points[1]} with key points"
            what = f"it has {len(words)} values, but a line has {wanted}."
            self.faults.add("broken line", where, what)
            return None
        coordinates = rest if not has_points else rest[:4]
        if max(coordinates) > _PIXELS:
            pixels.append(line)
            return None
        if len(rest) == 4 or has_points:
            x, y, width, height = rest[:4]
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            points = self._points(rest[4:]) if has_points else None
            return Object(where, int(label), box, points=points, is_normalised=True)
        polygon = corners(rest)
        return Object(where, int(label), polygon_box([polygon]), (polygon,), is_normalised=True)

    def _points(self, flat: list[float]) -> list[list[float]]:
        _, width = self.points or (0, 3)
        rows = [flat[place : place + width] for place in range(0, len(flat), width)]
        if width == 3:
            return rows
        return [[*row, 2.0 if any(row) else 0.0] for row in rows]


def is_yolo(path: Path) -> bool:
    """Whether a folder looks like images with YOLO labels."""
    if not path.is_dir():
        return False
    folder = path / "images" if (path / "images").is_dir() else path
    if (path / "labels").is_dir() and (path / "images").is_dir():
        return True
    for count, image in enumerate(image_files(folder)):
        if label_file(image).is_file() or image.with_suffix(".txt").is_file():
            return True
        if count > 200:
            break
    return False
