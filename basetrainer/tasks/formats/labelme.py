"""LabelMe JSON: one file an image; rectangles, polygons, circles and points."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from basetrainer.errors import ConfigError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats.source import (
    Source,
    StrPath,
    forward_slashes,
    image_of_stem,
    numbers,
    read_json,
    write_json,
)
from basetrainer.tasks.rle import RLE, polygon_box
from basetrainer.tasks.sample import Object, RawImage, Sample, Samples

_CORNERS_OF_CIRCLE = 64


def read(folder: StrPath, faults: Faults | None = None) -> Source:
    """Read a folder of LabelMe files.

    Polygons with the same label and ``group_id`` are one object. Points with a ``group_id`` are
    key points of the rectangle or polygon of that group, named by their label.

    Raises:
        ConfigError: If there is no such folder, or no JSON file in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ConfigError(f"{root}: there is no such folder.")
    faults = Faults() if faults is None else faults
    files = sorted(root.rglob("*.json"))
    if not files:
        raise ConfigError(f"{root}: there is no JSON file in it.")
    contents = [(file, read_json(file, faults)) for file in files]
    names: dict[str, None] = {}
    for _, content in contents:
        for shape in _shapes(content):
            if shape.get("shape_type") == "point" and shape.get("group_id") is not None:
                names.setdefault(str(shape.get("label")))
    reader = _Reader(faults, tuple(names))
    images = [reader.image(file, content) for file, content in contents if content is not None]
    return Source(str(root), [one for one in images if one is not None], point_names=tuple(names))


def _shapes(content: Any) -> list[dict[str, Any]]:
    shapes = content.get("shapes") if isinstance(content, dict) else None
    return [one for one in shapes if isinstance(one, dict)] if isinstance(shapes, list) else []


class _Reader:
    def __init__(self, faults: Faults, point_names: tuple[str, ...]) -> None:
        self.faults = faults
        self.point_names = point_names

    def image(self, file: Path, content: Any) -> RawImage | None:
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            self.faults.add("not LabelMe", str(file), "it has no list of shapes.")
            return None
        size = numbers([content.get("imageWidth"), content.get("imageHeight")], 2)
        sides = None if size is None else (int(size[0]), int(size[1]))
        image = RawImage(str(self._path(file, content)), str(file), [], sides)
        before = len(self.faults)
        groups: dict[tuple[str, Any], Object] = {}
        points: list[tuple[Any, str, list[float]]] = []
        for place, shape in enumerate(content["shapes"]):
            where = f"{file}, shape {place}"
            if not isinstance(shape, dict):
                self.faults.add("broken shape", where, "it is no mapping.")
                continue
            label, group = str(shape.get("label", "")), shape.get("group_id")
            corners = self._corners(shape, where)
            if corners is None:
                continue
            if shape.get("shape_type") == "point":
                if group is None:
                    self.faults.note("points without a group, which belong to no object")
                else:
                    flags = shape.get("flags") or {}
                    visible = 1.0 if flags.get("hidden") else 2.0
                    points.append((group, label, [*corners[0], visible]))
                continue
            one = self._object(shape, label, corners, where)
            if one is None:
                continue
            joined = groups.get((label, group)) if group is not None else None
            if (
                joined is not None
                and isinstance(joined.outline, tuple)
                and isinstance(one.outline, tuple)
            ):
                joined.outline = joined.outline + one.outline
                joined.box = polygon_box(joined.outline)
                continue
            groups[(label, group)] = one
            image.objects.append(one)
        self._add_points(groups, points, str(file))
        image.is_faulty = len(self.faults) > before
        return image

    def _path(self, file: Path, content: dict[str, Any]) -> Path:
        name = forward_slashes(str(content.get("imagePath") or ""), self.faults)
        for candidate in (file.parent / name, file.parent / Path(name).name):
            if name and candidate.is_file():
                return candidate
        return image_of_stem(file.parent, file.stem) or file.parent / (name or f"{file.stem}.jpg")

    def _corners(self, shape: dict[str, Any], where: str) -> list[list[float]] | None:
        written = shape.get("points")
        listed = written if isinstance(written, list) else []
        corners = [numbers(point, 2) for point in listed]
        if not corners or any(one is None for one in corners):
            self.faults.add("broken shape", where, "its points are no list of [x, y].")
            return None
        return [one for one in corners if one is not None]

    def _object(
        self, shape: dict[str, Any], label: str, corners: list[list[float]], where: str
    ) -> Object | None:
        kind = shape.get("shape_type") or "polygon"
        flags = shape.get("flags") or {}
        if not label:
            self.faults.add("object without name", where, "its label is empty.")
            return None
        outline: tuple[Any, ...] | None = None
        polygon = np.asarray(corners, dtype=np.float64)
        if kind == "circle" and len(corners) == 2:
            radius = math.dist(corners[0], corners[1])
            angles = np.linspace(0, 2 * np.pi, _CORNERS_OF_CIRCLE, endpoint=False)
            polygon = polygon[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            outline = (polygon,)
        elif kind == "polygon":
            if len(corners) < 3:
                what = (
                    f"a polygon of {len(corners)} points has no inside. Remove it, or draw it anew."
                )
                self.faults.add("polygon of two points", where, what)
                return None
            outline = (polygon,)
        elif kind != "rectangle" or len(corners) not in (2, 4):
            what = f"a {kind} of {len(corners)} points is no outline of an object."
            self.faults.add("shape that is no object", where, what)
            return None
        return Object(
            where,
            label,
            polygon_box([polygon]),
            outline,
            crowd=bool(flags.get("crowd")),
            difficult=bool(flags.get("difficult")),
        )

    def _add_points(
        self,
        groups: dict[tuple[str, Any], Object],
        points: list[tuple[Any, str, list[float]]],
        file: str,
    ) -> None:
        owners = {group: one for (_, group), one in groups.items() if group is not None}
        for group, name, point in points:
            owner = owners.get(group)
            if owner is None:
                what = f"point {name!r} has group_id {group}, which no rectangle or polygon has."
                self.faults.add("point without object", file, what)
                continue
            if owner.points is None:
                owner.points = [[0.0, 0.0, 0.0] for _ in self.point_names]
            rows = list(owner.points)
            rows[self.point_names.index(name)] = point
            owner.points = rows


def write(samples: Samples, folder: StrPath) -> list[str]:
    """Write one JSON file an image; images are not copied, but named relative to the folder.

    Crowds and difficult objects are marked by flags.

    Returns:
        What the format cannot hold, a line each.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    runs = 0
    for sample in samples:
        shapes, lost = _written_shapes(sample, samples)
        runs += lost
        write_json(
            target / f"{Path(sample.path).stem}.json",
            {
                "version": "5.0.0",
                "flags": {},
                "shapes": shapes,
                "imagePath": os.path.relpath(sample.path, target),
                "imageData": None,
                "imageWidth": sample.size[0],
                "imageHeight": sample.size[1],
            },
        )
    return [f"{runs} run-length masks, written as boxes"] if runs else []


def _written_shapes(sample: Sample, samples: Samples) -> tuple[list[dict[str, Any]], int]:
    shapes: list[dict[str, Any]] = []
    runs = 0
    for place, box in enumerate(sample.boxes):
        outline = sample.outlines[place]
        runs += isinstance(outline, RLE)
        parts = () if outline is None or isinstance(outline, RLE) else outline
        points = None if sample.points is None else sample.points[place]
        has_points = points is not None and bool((points[:, 2] > 0).any())
        group = place if len(parts) > 1 or has_points else None
        flags = {
            name: True
            for name, is_set in (
                ("crowd", sample.crowd[place]),
                ("difficult", sample.difficult[place]),
            )
            if is_set
        }
        label = samples.class_names[int(sample.labels[place])]
        drawn = [("polygon", part) for part in parts] or [("rectangle", box.reshape(2, 2))]
        shapes += [_shape(label, corners, kind, group, flags) for kind, corners in drawn]
        if points is not None:
            for name, (x, y, visible) in zip(samples.point_names, points, strict=True):
                if visible:
                    hidden = {"hidden": True} if visible == 1 else {}
                    shapes.append(_shape(name, np.array([[x, y]]), "point", group, hidden))
    return shapes, runs


def _shape(
    label: str, corners: Any, kind: str, group: int | None, flags: dict[str, bool]
) -> dict[str, Any]:
    return {
        "label": label,
        "points": np.asarray(corners).tolist(),
        "group_id": group,
        "shape_type": kind,
        "flags": flags,
    }


def is_labelme(path: Path) -> bool:
    """Whether a folder looks like LabelMe files."""
    first = next(iter(sorted(path.glob("*.json"))), None) if path.is_dir() else None
    return first is not None and isinstance(_peek(first), dict) and "shapes" in _peek(first)


def _peek(file: Path) -> Any:
    return read_json(file, Faults()) or {}
