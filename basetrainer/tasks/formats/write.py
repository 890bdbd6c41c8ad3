"""Writing samples with their images, in any of the formats."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basetrainer._names import lookup
from basetrainer.errors import ConfigError
from basetrainer.tasks.formats import coco_writer, labelme, masks, voc, yolo_writer
from basetrainer.tasks.sample import Samples

IMAGE_FOLDERS = {
    "coco": "images",
    "voc": "JPEGImages",
    "yolo": "images",
    "labelme": "",
    "masks": "images",
}
"""The folder, below that of a data set, in which each format has its images."""


def write_annotations(samples: Samples, folder: Path, format: str) -> list[str]:
    """Write annotations alone, of images that lie where the format has them.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        UnknownNameError: If the format is not known.
    """
    writers = {
        "coco": lambda: coco_writer.write(samples, folder / "annotations.json"),
        "voc": lambda: voc.write(samples, folder),
        "yolo": lambda: yolo_writer.write(samples, folder),
        "labelme": lambda: labelme.write(samples, folder),
        "masks": lambda: masks.write(samples, folder),
    }
    return lookup("format", format, writers)()


def write_samples(samples: Samples, folder: Path, format: str) -> list[str]:
    """Copy the images into a new folder, and write their annotations.

    Images keep their names; of several with one name the later ones are numbered.

    Args:
        samples: What to write.
        folder: Where to; new or empty.
        format: ``coco, voc, yolo, labelme`` or ``masks``.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        UnknownNameError: If the format is not known.
        ConfigError: If the folder has something in it.
    """
    images = folder / lookup("format", format, IMAGE_FOLDERS)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: there is something in it. Name a new or an empty folder.")
    images.mkdir(parents=True, exist_ok=True)
    used: Counter[str] = Counter()
    paths = []
    for path in map(Path, samples.paths):
        number = used[path.stem]
        used[path.stem] += 1
        target = images / (f"{path.stem}_{number}{path.suffix}" if number else path.name)
        shutil.copyfile(path, target)
        paths.append(str(target))
    return write_annotations(samples.moved(paths), folder, format)


def image_folder(root: Path, format: str) -> Path:
    """Make and return the folder in which a format has its images.

    Raises:
        UnknownNameError: If the format is not known.
    """
    folder = root / lookup("format", format, IMAGE_FOLDERS)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_image(image: NDArray[np.uint8], path: Path) -> str:
    """Write an image of shape ``(H, W, 3)``, and return its path."""
    from PIL.Image import fromarray

    fromarray(image).save(path)
    return str(path)


def write_set(samples: Samples, root: Path, format: str) -> Path:
    """Write annotations, and return what ``open_samples`` takes: the folder, of COCO the file."""
    write_annotations(samples, root, format)
    return root / "annotations.json" if format == "coco" else root
