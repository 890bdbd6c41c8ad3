"""From what readers found to samples that can be trained on: every fault is named here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basetrainer._names import did_you_mean
from basetrainer.datasets.class_names import ClassList, natural_key, shown
from basetrainer.errors import ConfigError, DataError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats.image_sizes import ImageSize, image_sizes
from basetrainer.tasks.formats.source import Source
from basetrainer.tasks.mask_files import mask_size
from basetrainer.tasks.rle import RLE
from basetrainer.tasks.sample import Object, RawImage, Samples

_ROUNDING = 0.05  # pixels beyond the border that are rounding, not an error
_SMALLEST = 1e-6  # pixels


def checked_samples(
    sources: Sequence[Source], faults: Faults, classes: ClassList | None = None
) -> Samples:
    """Check images, boxes and classes of all sources, and join them.

    Args:
        sources: What readers found.
        faults: Has their faults already; more are added. What is done of them it says.
        classes: The classes; None takes those that the sources declare, else the names they use.

    Raises:
        ConfigError: If sources have key points of other skeletons.
    """
    given = _classes_of(sources) if classes is None else classes
    known = [sizes for source in sources for sizes in image_sizes([i.path for i in source.images])]
    places = iter(known)
    images: list[RawImage] = []
    labels: list[int] = []
    for source in sources:
        for image in source.images:
            before = len(faults)
            checked = _checked_image(image, next(places), faults)
            found = [] if checked is None else list(_labelled(checked, source, given, faults))
            is_bad = image.is_faulty or len(faults) > before
            if checked is None or (faults.on_fault == "skip" and is_bad):
                continue
            checked.objects = [one for one, _ in found]
            labels += [label for _, label in found]
            images.append(checked)
    if len(sources) > 1:
        images = [replace(image, image_id=None) for image in images]
    names, links = _skeleton_of(sources)
    ids = sources[0].original_ids if len(sources) == 1 and classes is None else ()
    return Samples(
        images,
        labels,
        given.names,
        original_ids=ids or _ids_by_name(sources, given),
        point_names=names,
        links=links,
        faults=faults,
        sources=[source.name for source in sources],
    )


def _classes_of(sources: Sequence[Source]) -> ClassList:
    names: dict[str, None] = {}
    for source in sources:
        names.update(dict.fromkeys(source.class_names))
    used = {
        one.label
        for source in sources
        if not source.is_sure
        for image in source.images
        for one in image.objects
    }
    written = sorted((one for one in used if isinstance(one, str)), key=natural_key)
    names.update(dict.fromkeys(written))
    numbers = [one for one in used if isinstance(one, int)]
    if numbers and not names:
        names = dict.fromkeys(str(one) for one in range(max(max(numbers), 0) + 1))
    return ClassList(tuple(names), {name: place for place, name in enumerate(names)})


def _ids_by_name(sources: Sequence[Source], classes: ClassList) -> tuple[int, ...]:
    """Return the id of each class in the only source, if that has all of them."""
    if len(sources) != 1 or not sources[0].original_ids:
        return ()
    by_name = dict(zip(sources[0].class_names, sources[0].original_ids, strict=True))
    if any(name not in by_name for name in classes.names):
        return ()
    return tuple(by_name[name] for name in classes.names)


def _skeleton_of(sources: Sequence[Source]) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    with_points = [source for source in sources if source.point_names]
    for source in with_points[1:]:
        if source.point_names != with_points[0].point_names:
            raise ConfigError(
                f"{source.name} has the key points {shown(source.point_names)}, but "
                f"{with_points[0].name} has {shown(with_points[0].point_names)}."
            )
    return (with_points[0].point_names, with_points[0].links) if with_points else ((), ())


def _checked_image(image: RawImage, found: ImageSize, faults: Faults) -> RawImage | None:
    """Return the image with the size of its pixels; None if it cannot be used."""
    if found.size is None:
        kind = "image missing" if found.is_missing else "broken image"
        where = image.where if image.where != image.path else image.path
        what = found.fault if where == image.path else f"{image.path}: {found.fault}"
        faults.add(kind, where, f"{what}.")
        return None
    if image.size is not None and image.size != found.size:
        given, real = (f"{one[0]}x{one[1]}" for one in (image.size, found.size))
        if image.size == found.stored:
            what = (
                f"{given} is the size of {image.path} before its EXIF orientation; it is seen as "
                f"{real}, and labels must be those of the turned image."
            )
            faults.add("size before the EXIF orientation", image.where, what)
        else:
            what = f"the size is given as {given}, but {image.path} has {real} pixels."
            faults.add("another image size", image.where, what)
    if image.mask_path is not None:
        try:
            size = mask_size(image.mask_path)
        except DataError as error:
            faults.add("broken mask", image.where, str(error))
            return None
        if size not in (found.size, found.stored):
            given, real = (f"{one[0]}x{one[1]}" for one in (size, found.size))
            what = f"{image.mask_path} has {given} pixels, but its image {real}. It is not resized."
            faults.add("mask of another size", image.where, what)
            return None
    return replace(image, size=found.size, objects=list(image.objects))


def _labelled(
    image: RawImage, source: Source, classes: ClassList, faults: Faults
) -> Iterable[tuple[Object, int]]:
    """Yield the objects of an image that can be used, with their class."""
    width, height = image.size or (0, 0)
    seen: set[tuple[Any, ...]] = set()
    for one in image.objects:
        label = _label(one, source, classes, faults)
        box = _box(one, width, height, faults)
        if label is None or box is None:
            continue
        one = _in_pixels(one, width, height)
        outline = one.outline
        if isinstance(outline, RLE) and outline.size != (width, height):
            given = f"{outline.size[0]}x{outline.size[1]}"
            what = f"its mask has {given} pixels, but its image {width}x{height}."
            faults.add("mask of another size", one.where, what)
            continue
        key = (label, *box, one.crowd)
        if key in seen and one.points is None:
            faults.note("doubled boxes, of which one is kept")
            continue
        seen.add(key)
        yield replace(one, box=box, outline=outline), label


def _label(one: Object, source: Source, classes: ClassList, faults: Faults) -> int | None:
    name = one.label
    if isinstance(name, int):
        declared = source.class_names
        if declared and not 0 <= name < len(declared):
            what = f"class {name} is not among the {len(declared)} classes: {shown(declared)}."
            faults.add("class out of range", one.where, what)
            return None
        if not declared:
            if 0 <= name < len(classes.names):
                return name
            what = f"class {name} is not among the {len(classes.names)}: {shown(classes.names)}."
            faults.add("class out of range", one.where, what)
            return None
        name = declared[name]
    if name in classes.ids:
        return classes.ids[name]
    hint = did_you_mean(name, classes.ids)
    what = f"{name!r} is no class.{hint} Known: {shown(classes.names)}."
    faults.add("unknown class", one.where, what)
    return None


def _box(
    one: Object, width: int, height: int, faults: Faults
) -> tuple[float, float, float, float] | None:
    """Return the box in pixels within the image; None if there is nothing left of it."""
    scale = (width, height, width, height) if one.is_normalised else (1, 1, 1, 1)
    x1, y1, x2, y2 = (
        side * unit for side, unit in zip(one.box or (0, 0, 0, 0), scale, strict=True)
    )
    text = f"[{x1:g}, {y1:g}, {x2:g}, {y2:g}]"
    if not np.isfinite([x1, y1, x2, y2]).all():
        faults.add("box that is no number", one.where, f"its box is {text}.")
        return None
    if x2 < x1 or y2 < y1:
        faults.add("box turned round", one.where, f"its box {text} ends before it begins.")
        x1, x2 = min(x1, x2), max(x1, x2)
        y1, y2 = min(y1, y2), max(y1, y2)
    if x2 - x1 < _SMALLEST or y2 - y1 < _SMALLEST:
        faults.add("box without area", one.where, f"its box {text} has no width or no height.")
        return None
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        what = f"its box {text} lies outside the image of {width}x{height}."
        faults.add("box outside the image", one.where, what)
        return None
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    if beyond > _ROUNDING:
        faults.note("boxes partly outside their image, which were cut at its border")
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def _in_pixels(one: Object, width: int, height: int) -> Object:
    if not one.is_normalised:
        return one
    unit = np.array([width, height], dtype=np.float64)
    outline = one.outline
    if outline is not None and not isinstance(outline, RLE):
        outline = tuple(_scaled(polygon, unit) for polygon in outline)
    points = one.points
    if points is not None:
        points = [[x * width, y * height, visible] for x, y, visible in points]
    return replace(one, outline=outline, points=points, is_normalised=False)


def _scaled(polygon: NDArray[np.float64], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    return polygon * unit
