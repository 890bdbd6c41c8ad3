"""Pascal VOC: one XML file an image."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from basetrainer.datasets.class_names import read_text
from basetrainer.errors import ConfigError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats.source import (
    Source,
    StrPath,
    forward_slashes,
    image_files,
    image_of_stem,
    number,
)
from basetrainer.tasks.sample import Object, RawImage, Sample, Samples

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(folder: StrPath, image_set: str | None = None, faults: Faults | None = None) -> Source:
    """Read a folder of VOC annotations.

    The first pixel of VOC is 1, and a box ends with the pixel ``xmax``: it becomes
    ``xmin - 1, ymin - 1, xmax, ymax``.

    Args:
        folder: Has ``Annotations`` and ``JPEGImages``, or XML files beside their images.
        image_set: The name of a list in ``ImageSets/Main`` (``train``), or a text file with a
            name a line; None takes every XML file.
        faults: Where faults are recorded.

    Raises:
        ConfigError: If there is no such folder, list or XML file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ConfigError(f"{root}: there is no such folder.")
    faults = Faults() if faults is None else faults
    annotations = root / "Annotations"
    annotations = annotations if annotations.is_dir() else root
    images = root / "JPEGImages" if (root / "JPEGImages").is_dir() else None
    found = list(_files(root, annotations, image_set, faults))
    if not found:
        raise ConfigError(f"{annotations}: there is no XML file in it.")
    reader = _Reader(images, faults)
    read_images = [image for file in found if (image := reader.image(file)) is not None]
    if image_set is None:
        listed = {Path(image.path).stem for image in read_images} | {file.stem for file in found}
        for path in image_files(images or annotations):
            if path.stem not in listed:
                what = f"it has no XML file {path.stem}.xml in {annotations}. Add or remove one."
                faults.add("image without annotation", str(path), what)
    return Source(str(root), read_images)


def _files(root: Path, annotations: Path, image_set: str | None, faults: Faults) -> Iterator[Path]:
    if image_set is None:
        yield from sorted(annotations.rglob("*.xml"))
        return
    listing = Path(image_set)
    if not listing.is_file():
        listing = root / "ImageSets" / "Main" / f"{image_set}.txt"
    if not listing.is_file():
        known = sorted(path.stem for path in listing.parent.glob("*.txt"))
        raise ConfigError(
            f"image_set {image_set!r}: there is no {listing}. Known: {', '.join(known) or 'none'}."
        )
    for line, content in enumerate(read_text(listing).splitlines(), 1):
        words = content.split()
        if not words or words[-1:] == ["-1"]:  # lists of one class mark the others with -1
            continue
        file = annotations / f"{words[0]}.xml"
        if file.is_file():
            yield file
        else:
            what = f"there is no {file}. Add it, or take the line out."
            faults.add("annotation missing", f"{listing}, line {line}", what)


class _Reader:
    def __init__(self, images: Path | None, faults: Faults) -> None:
        self.folder = images
        self.faults = faults

    def image(self, file: Path) -> RawImage | None:
        """Read one XML file; None after a fault that spoils all of it."""
        root = self._parsed(file)
        if root is None:
            return None
        size = [number(root.findtext(f"size/{side}")) for side in ("width", "height")]
        width, height = size
        given = None if not width or not height else (int(width), int(height))
        image = RawImage(str(self._path(file, root)), str(file), [], given)
        before = len(self.faults)
        for place, element in enumerate(root.iter("object"), 1):
            one = self._object(element, f"{file}, object {place}")
            if one is not None:
                image.objects.append(one)
        image.is_faulty = len(self.faults) > before
        return image

    def _parsed(self, file: Path) -> ET.Element | None:
        try:
            content = file.read_bytes()
        except OSError as error:
            self.faults.add("file cannot be read", str(file), f"{error.strerror or error}.")
            return None
        if not content.strip():
            self.faults.add("empty file", str(file), "the file is empty. Export it again.")
            return None
        if b"<!ENTITY" in content[:4096]:
            self.faults.add("broken XML", str(file), "it declares entities, as no VOC file does.")
            return None
        try:
            root = ET.fromstring(content.lstrip())  # entities were refused
        except (ET.ParseError, ValueError, LookupError) as error:
            line, column = getattr(error, "position", (0, 0))
            where = f"{file}, line {line}, column {column}" if line else str(file)
            self.faults.add("broken XML", where, f"{error}. Is the file cut? Export it again.")
            return None
        if root.tag != "annotation":
            what = f"it begins with <{root.tag}>, not <annotation>."
            self.faults.add("not VOC", str(file), what)
            return None
        return root

    def _path(self, file: Path, root: ET.Element) -> Path:
        name = (root.findtext("filename") or "").strip()
        name = Path(forward_slashes(name, self.faults)).name
        folder = self.folder if self.folder is not None else file.parent
        if name and (folder / name).is_file():
            return folder / name
        for stem in (Path(name).stem, file.stem):
            found = image_of_stem(folder, stem) if stem else None
            if found is not None:
                return found
        return folder / (name or f"{file.stem}.jpg")

    def _object(self, element: ET.Element, where: str) -> Object | None:
        name = (element.findtext("name") or "").strip()
        if not name:
            self.faults.add("object without name", where, "it has no <name>.")
            return None
        sides = [number(element.findtext(f"bndbox/{side}")) for side in _SIDES]
        if any(side is None for side in sides):
            written = [element.findtext(f"bndbox/{side}") for side in _SIDES]
            what = f"its box is {written}, not four numbers."
            self.faults.add("broken box", where, what)
            return None
        x1, y1, x2, y2 = (side for side in sides if side is not None)
        difficult = number(element.findtext("difficult")) == 1
        crowd = number(element.findtext("crowd")) == 1
        return Object(where, name, (x1 - 1, y1 - 1, x2, y2), crowd=crowd, difficult=difficult)


def write(samples: Samples, folder: StrPath) -> list[str]:
    """Write one XML file an image into ``folder/Annotations``; images are not copied.

    Boxes are written with decimals, so that nothing is rounded; crowds as ``<crowd>``, an element
    that other readers pass over.

    Returns:
        What the format cannot hold, a line each.
    """
    target = Path(folder) / "Annotations"
    target.mkdir(parents=True, exist_ok=True)
    outlines = points = 0
    for sample in samples:
        ET.ElementTree(_tree(sample, samples)).write(
            target / f"{Path(sample.path).stem}.xml", encoding="utf-8", xml_declaration=True
        )
        outlines += sum(outline is not None for outline in sample.outlines)
        if sample.points is not None:
            points += int((sample.points[..., 2] > 0).any(axis=1).sum())
    lost = []
    if outlines:
        lost.append(f"{outlines} outlines")
    if points:
        lost.append(f"key points of {points} objects")
    return lost


def _tree(sample: Sample, samples: Samples) -> ET.Element:
    root = ET.Element("annotation")
    path = Path(sample.path)
    for name, text in (("folder", path.parent.name), ("filename", path.name)):
        ET.SubElement(root, name).text = text
    size = ET.SubElement(root, "size")
    for name, side in zip(("width", "height", "depth"), (*sample.size, 3), strict=True):
        ET.SubElement(size, name).text = str(side)
    for place in range(len(sample.boxes)):
        element = ET.SubElement(root, "object")
        ET.SubElement(element, "name").text = samples.class_names[int(sample.labels[place])]
        ET.SubElement(element, "difficult").text = str(int(sample.difficult[place]))
        if sample.crowd[place]:
            ET.SubElement(element, "crowd").text = "1"
        box = ET.SubElement(element, "bndbox")
        x1, y1, x2, y2 = (float(side) for side in sample.boxes[place])
        for name, value in zip(_SIDES, (x1 + 1, y1 + 1, x2, y2), strict=True):
            ET.SubElement(box, name).text = f"{value:.6f}".rstrip("0").rstrip(".")
    return root


def is_voc(path: Path) -> bool:
    """Whether a folder looks like VOC annotations of objects."""
    if (path / "Annotations").is_dir():
        return any((path / "Annotations").rglob("*.xml"))
    return path.is_dir() and any(os.fspath(one).endswith(".xml") for one in path.glob("*.xml"))
