"""COCO JSON: boxes, polygons, run-length masks, crowds and key points."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basetrainer.errors import ConfigError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats.source import (
    Source,
    StrPath,
    corners,
    forward_slashes,
    numbers,
    read_json,
)
from basetrainer.tasks.rle import RLE, polygon_box
from basetrainer.tasks.sample import Object, Outline, RawImage

_FOLDERS = ("images", "JPEGImages", "train2017", "val2017", "")


def read(
    annotations: StrPath, images: StrPath | None = None, faults: Faults | None = None
) -> Source:
    """Read a COCO file.

    Categories become classes in the order of their ids, with or without holes. Boxes are
    ``x, y, width, height`` from the image's corner.

    Args:
        annotations: The JSON file.
        images: The folder that ``file_name`` starts from. None looks in the usual places:
            ``images`` beside the file or its folder, the file's folder, a folder named as the file
            after its last ``_`` (``instances_val2017.json``: ``val2017``).
        faults: Where faults are recorded.

    Raises:
        ConfigError: If there is no such file or folder.
    """
    file = Path(annotations)
    if not file.is_file():
        raise ConfigError(f"{file}: there is no such file.")
    if images is not None and not Path(images).is_dir():
        raise ConfigError(f"{os.fspath(images)}: there is no such folder (the images of {file}).")
    faults = Faults() if faults is None else faults
    content = read_json(file, faults)
    empty = Source(str(file), [])
    if content is None:
        return empty
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        kind = "a list, as results of a detector are" if isinstance(content, list) else "no images"
        what = (
            f"it holds {kind}. COCO annotations are a mapping with images, annotations, categories."
        )
        faults.add("not COCO", str(file), what)
        return empty
    reader = _Reader(file, faults)
    categories = reader.categories(content.get("categories"))
    by_id = reader.images(content["images"], None if images is None else Path(images))
    reader.annotations(content.get("annotations") or [], by_id, categories)
    ordered = sorted(categories)
    return Source(
        str(file),
        list(by_id.values()),
        tuple(categories[one] for one in ordered),
        tuple(ordered),
        reader.point_names,
        reader.links,
        is_sure=True,
    )


class _Reader:
    """Reads the three lists of a file, and records what is wrong in them."""

    def __init__(self, file: Path, faults: Faults) -> None:
        self.file = file
        self.faults = faults
        self.point_names: tuple[str, ...] = ()
        self.links: tuple[tuple[int, int], ...] = ()

    def categories(self, listed: Any) -> dict[int, str]:
        """Return the name of each category id."""
        found: dict[int, str] = {}
        for place, entry in enumerate(listed if isinstance(listed, list) else []):
            name, number = _get(entry, "name"), _get(entry, "id")
            if not isinstance(number, int) or not isinstance(name, str):
                what = "it needs an integer 'id' and a 'name'."
                self.faults.add("broken category", f"{self.file}, category {place}", what)
            elif number in found:
                what = f"{found[number]!r} and {name!r} have the same id. Give each its own."
                self.faults.add("two categories of one id", f"{self.file}, category {number}", what)
            else:
                found[number] = name
                if not self.point_names and isinstance(entry.get("keypoints"), list):
                    self.point_names = tuple(map(str, entry["keypoints"]))
                    pairs = [numbers(pair, 2) for pair in entry.get("skeleton") or []]
                    self.links = tuple(
                        (int(pair[0]) - 1, int(pair[1]) - 1) for pair in pairs if pair
                    )
        return found

    def images(self, listed: list[Any], folder: Path | None) -> dict[int, RawImage]:
        """Return the images by their id."""
        found: dict[int, RawImage] = {}
        names: dict[str, int] = {}
        for place, entry in enumerate(listed):
            number, name = _get(entry, "id"), _get(entry, "file_name")
            if not isinstance(number, int) or not isinstance(name, str) or not name:
                what = "it needs an integer 'id' and a 'file_name'."
                self.faults.add("broken image entry", f"{self.file}, image {place}", what)
                continue
            where = f"{self.file}, image id {number}"
            name = forward_slashes(name, self.faults)
            if number in found:
                what = f"two images have this id: {found[number].path} and {name}. Renumber one."
                self.faults.add("image id twice", where, what)
                continue
            if name in names:
                what = f"{name} is also image id {names[name]}. Remove one of the entries."
                self.faults.add("image twice", where, what)
                continue
            if folder is None:
                folder = self._folder_of(name)
            names[name] = number
            size = numbers([entry.get("width"), entry.get("height")], 2)
            sides = None if size is None else (int(size[0]), int(size[1]))
            found[number] = RawImage(str(folder / name), where, [], sides, number)
        return found

    def annotations(
        self, listed: list[Any], images: dict[int, RawImage], categories: dict[int, str]
    ) -> None:
        """Add the objects to their images."""
        seen: set[int] = set()
        for place, entry in enumerate(listed):
            number = _get(entry, "id")
            number = number if isinstance(number, int) else -1
            where = f"{self.file}, annotation {number if number != -1 else f'at place {place}'}"
            if not isinstance(entry, dict):
                self.faults.add("broken annotation", where, "it is no mapping.")
                continue
            if number in seen and number != -1:
                what = "two annotations have this id. Renumber one of them."
                self.faults.add("annotation id twice", where, what)
                continue
            seen.add(number)
            image = images.get(entry.get("image_id", -1))
            if image is None:
                what = f"there is no image of id {entry.get('image_id')!r}."
                self.faults.add("unknown image", where, what)
                continue
            category = entry.get("category_id")
            if category not in categories:
                known = ", ".join(f"{one} {name}" for one, name in list(categories.items())[:10])
                what = f"there is no category {category!r}. Known: {known or 'none'}."
                image.is_faulty = True
                self.faults.add("unknown class", where, what)
                continue
            before = len(self.faults)
            one = self._object(entry, where, categories[category], number)
            if one is not None:
                image.objects.append(one)
            image.is_faulty = image.is_faulty or len(self.faults) > before

    def _object(self, entry: dict[str, Any], where: str, name: str, number: int) -> Object | None:
        crowd = bool(entry.get("iscrowd", 0))
        try:
            outline = _outline(entry.get("segmentation"), where, self.faults)
        except ValueError as error:
            self.faults.add("broken mask", where, f"{error}.")
            return None
        box = numbers(entry.get("bbox"), 4)
        if box is not None:
            corner_box = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        else:
            around = _box_of(outline)
            if around is None or entry.get("bbox"):
                what = f"bbox is {entry.get('bbox')!r}, not [x, y, width, height]."
                self.faults.add("broken box", where, what)
                return None
            corner_box = around
        points = self._points(entry.get("keypoints"), where)
        area = entry.get("area")
        is_area = isinstance(area, (int, float)) and area > 0
        return Object(
            where,
            name,
            corner_box,
            outline,
            points,
            crowd,
            bool(entry.get("ignore", 0)) and not crowd,
            float(area) if is_area and isinstance(area, (int, float)) else None,
            number,
        )

    def _points(self, written: Any, where: str) -> list[list[float]] | None:
        if not written:
            return None
        flat = numbers(written)
        expected = 3 * len(self.point_names) if self.point_names else None
        if flat is None or len(flat) % 3 or (expected is not None and len(flat) != expected):
            what = f"keypoints must be {expected or 'three'} numbers: x, y, visibility of each."
            self.faults.add("broken key points", where, what)
            return None
        if not self.point_names:
            self.point_names = tuple(str(place) for place in range(len(flat) // 3))
        return [flat[place : place + 3] for place in range(0, len(flat), 3)]

    def _folder_of(self, name: str) -> Path:
        """Return the folder in which the image of this name is, for want of a given one."""
        beside, above = self.file.parent, self.file.parent.parent
        split = self.file.stem.rpartition("_")[2]
        for base in (beside, above):
            for folder in (split, f"images/{split}", self.file.stem, *_FOLDERS):
                if (base / folder / name).is_file():
                    return base / folder
        return beside


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, Mapping) else None


def _outline(written: Any, where: str, faults: Faults) -> Outline:
    if not written:
        return None
    if isinstance(written, Mapping):
        return RLE.read(written)
    if not isinstance(written, list):
        kind = type(written).__name__
        raise ValueError(f"segmentation is a {kind}, not polygons or run lengths")  # noqa: TRY004
    if written and not isinstance(written[0], (list, tuple)):
        written = [written]
    polygons = []
    for part in written:
        flat = numbers(part)
        if flat is None or len(flat) % 2:
            raise ValueError("a polygon must be an even number of numbers: x, y, x, y, ...")
        if len(flat) < 6:
            what = (
                f"a polygon of {len(flat) // 2} points has no inside. Remove it, or draw it anew."
            )
            faults.add("polygon of two points", where, what)
            continue
        polygons.append(corners(flat))
    return tuple(polygons) or None


def _box_of(outline: Outline) -> tuple[float, float, float, float] | None:
    if outline is None:
        return None
    return outline.box() if isinstance(outline, RLE) else polygon_box(outline)
