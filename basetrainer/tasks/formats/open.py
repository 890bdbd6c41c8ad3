"""Which format a path has, and the samples of one or several paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from basetrainer._names import did_you_mean
from basetrainer.datasets.class_names import ClassList, ClassNames
from basetrainer.errors import ConfigError, DataError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats import coco, labelme, masks, voc, yolo
from basetrainer.tasks.formats.checked import checked_samples
from basetrainer.tasks.formats.source import Source, StrPath
from basetrainer.tasks.sample import Samples

FORMATS = ("coco", "voc", "yolo", "labelme", "masks")
"""The formats that can be read, and written."""

Given: TypeAlias = "StrPath | Mapping[str, Any]"


def open_samples(
    paths: Given | Sequence[Given],
    format: str = "auto",
    *,
    class_names: ClassNames | ClassList | None = None,
    root: StrPath | None = None,
    phase: str | None = None,
    on_fault: str = "raise",
) -> Samples:
    """Read annotated images, and check all of them.

    Args:
        paths: One source or several. A source is a path, or a mapping of a path and what goes with
            it: ``{images: FOLDER, annotations: FILE}`` for COCO, ``{images: ..., masks: ...}`` for
            masks, ``{path: FOLDER, image_set: train}`` for VOC.
        format: ``coco, voc, yolo, labelme, masks``; ``auto`` finds it out for each source.
        class_names: The classes: list, file with one name a line, or dict of name -> index. None
            takes them from the data.
        root: The folder that relative paths start from; None is the working directory.
        phase: ``train`` or ``test``: which entry of a YOLO ``data.yaml`` is read; None is all.
        on_fault: ``raise`` refuses data with faults, naming all; ``fix`` drops or repairs the
            object; ``skip`` leaves the image out.

    Raises:
        ConfigError: If a path is missing, or its format is not known.
        AnnotationError: If there are faults and ``on_fault`` is ``raise``.
        DataError: If no image is left.
    """
    if format != "auto" and format not in FORMATS:
        hint = did_you_mean(str(format), FORMATS)
        raise ConfigError(
            f"data_format: {format!r} is not known.{hint} Known: auto, {', '.join(FORMATS)}."
        )
    is_one = isinstance(paths, (str, os.PathLike, Mapping))
    given: list[Given] = [paths] if is_one else list(paths)  # type: ignore[list-item, arg-type]
    if not given:
        raise ConfigError("There is no path to read annotated images from: the list is empty.")
    faults = Faults(on_fault)
    sources = [_read(one, format, root, phase, faults) for one in given]
    classes = None if class_names is None else ClassList.read(class_names)
    samples = checked_samples(sources, faults, classes)
    name = ", ".join(source.name for source in sources)
    faults.raise_or_log(name)
    if not len(samples):
        raise DataError(f"{name}: there is no annotated image in it that can be used.")
    return samples


def format_of(path: StrPath) -> str:
    """Return the name of the format of a file or folder.

    Raises:
        ConfigError: If there is no such path, or it has none of the formats.
    """
    place = Path(path)
    if not place.exists():
        raise ConfigError(f"{place}: there is no such file or folder.")
    suffix = place.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return "yolo"
    if suffix == ".json":
        return "coco"
    if place.is_file() and suffix == ".txt":
        return "masks" if _names_pairs(place) else "yolo"
    tests: dict[str, Callable[[Path], bool]] = {
        "masks": _is_masks,
        "voc": voc.is_voc,
        "labelme": labelme.is_labelme,
        "yolo": yolo.is_yolo,
    }
    for name, is_format in tests.items():
        if place.is_dir() and is_format(place):
            return name
    raise ConfigError(
        f"{place}: this has none of the formats that can be read: a COCO file (.json), a YOLO "
        "data.yaml or folder with images and labels, a VOC folder (Annotations, JPEGImages), a "
        "folder of LabelMe files, a folder with images and masks. Name the one that it is with "
        "data_format."
    )


def _read(
    given: Given, format: str, root: StrPath | None, phase: str | None, faults: Faults
) -> Source:
    def placed(path: Any) -> Path:
        return Path(path) if root is None else Path(root) / path

    if isinstance(given, Mapping):
        return _read_mapping(given, format, placed, faults)
    path = placed(given)
    name = format_of(path) if format == "auto" else format
    if name == "coco":
        if path.is_dir():
            path = _only_json(path)
        return coco.read(path, faults=faults)
    if name == "voc":
        return voc.read(path, faults=faults)
    if name == "labelme":
        return labelme.read(path, faults=faults)
    if name == "masks":
        return masks.read(path, faults=faults)
    return yolo.read(path, phase, faults=faults)


def _read_mapping(
    given: Mapping[str, Any], format: str, placed: Callable[[Any], Path], faults: Faults
) -> Source:
    known = {"images", "annotations", "masks", "path", "image_set"}
    for key in given:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise ConfigError(
                f"a source of data has the key {key!r}.{hint} Known: {', '.join(sorted(known))}."
            )
    images = None if given.get("images") is None else placed(given["images"])
    if given.get("annotations") is not None:
        file = placed(given["annotations"])
        if file.is_dir() and format in ("auto", "voc"):
            return voc.read(file, given.get("image_set"), faults)
        return coco.read(file, images, faults)
    if given.get("masks") is not None:
        if images is None:
            raise ConfigError("a source of data with masks needs images, too: {images, masks}.")
        return masks.read(images, placed(given["masks"]), faults=faults)
    if given.get("path") is None:
        raise ConfigError(
            f"a source of data is {dict(given)!r}. Write {{images, annotations}} for COCO, "
            "{images, masks} for masks, or {path, image_set} for VOC."
        )
    path = placed(given["path"])
    name = format_of(path) if format == "auto" else format
    if name == "masks":
        return masks.read(path, image_set=given.get("image_set"), faults=faults)
    return voc.read(path, given.get("image_set"), faults)


def _only_json(folder: Path) -> Path:
    files = sorted(folder.glob("*.json"))
    if len(files) == 1:
        return files[0]
    raise ConfigError(
        f"{folder}: there are {len(files)} JSON files in it. Name the one that is meant."
    )


def _is_masks(folder: Path) -> bool:
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        return True
    return (folder / "SegmentationClass").is_dir() and not (folder / "Annotations").is_dir()


def _names_pairs(file: Path) -> bool:
    """Whether the first line of a list names two images, as one of masks does."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    from basetrainer.datasets.decode import is_image_name

    words = first.replace(",", " ").split()
    return len(words) == 2 and all(map(is_image_name, words))
