"""Images with a mask each: folders, Pascal VOC, and lists of pairs."""

from __future__ import annotations

from pathlib import Path

from basetrainer.datasets.class_names import read_text
from basetrainer.errors import ConfigError
from basetrainer.tasks.faults import Faults
from basetrainer.tasks.formats.source import Source, StrPath, forward_slashes, image_files
from basetrainer.tasks.mask_files import mask_of_outlines, save_mask
from basetrainer.tasks.sample import RawImage, Samples


def read(
    images: StrPath,
    masks: StrPath | None = None,
    image_set: str | None = None,
    faults: Faults | None = None,
) -> Source:
    """Read images with a mask each.

    Args:
        images: A folder of images; or a VOC folder with ``JPEGImages``, ``SegmentationClass`` and
            ``ImageSets/Segmentation``; or a folder that has ``images`` and ``masks``; or a text
            file with an image and its mask on each line.
        masks: The folder of masks, whose names are those of the images up to the ending. None
            takes what is said of ``images``.
        image_set: The list of a VOC folder (``train``); None is every mask.
        faults: Where faults are recorded.

    Raises:
        ConfigError: If a file or folder is missing.
    """
    path = Path(images)
    faults = Faults() if faults is None else faults
    if path.is_file():
        return Source(str(path), list(_pairs(path, faults)))
    if not path.is_dir():
        raise ConfigError(f"{path}: there is no such file or folder.")
    stems: list[str] | None = None
    folder, mask_folder = path, None if masks is None else Path(masks)
    if mask_folder is None:
        if (path / "SegmentationClass").is_dir():
            folder, mask_folder = path / "JPEGImages", path / "SegmentationClass"
            stems = _image_set(path, image_set)
        else:
            folder, mask_folder = path / "images", path / "masks"
    for one in (folder, mask_folder):
        if not one.is_dir():
            raise ConfigError(f"{one}: there is no such folder (images and masks of {path}).")
    by_stem = {_stem(mask, mask_folder): mask for mask in image_files(mask_folder)}
    found: list[RawImage] = []
    for image in image_files(folder):
        stem = _stem(image, folder)
        if stems is not None and stem not in stems:
            continue
        mask = by_stem.pop(stem, None)
        if mask is not None:
            found.append(RawImage(str(image), str(image), mask_path=str(mask)))
        elif (path / "SegmentationClass").is_dir() and stems is None:
            continue  # most images of VOC have no mask
        else:
            what = f"there is no mask {stem}.* in {mask_folder}. Add it, or remove the image."
            faults.add("mask missing", str(image), what)
    if stems is None:
        for mask in by_stem.values():
            what = f"there is no image {mask.stem}.* in {folder}. Add it, or remove the mask."
            faults.add("image missing", str(mask), what)
    return Source(str(path), found)


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _image_set(path: Path, image_set: str | None) -> list[str] | None:
    if image_set is None:
        return None
    listing = path / "ImageSets" / "Segmentation" / f"{image_set}.txt"
    if not listing.is_file():
        known = sorted(one.stem for one in listing.parent.glob("*.txt"))
        raise ConfigError(
            f"image_set {image_set!r}: there is no {listing}. Known: {', '.join(known) or 'none'}."
        )
    return [line.strip() for line in read_text(listing).splitlines() if line.strip()]


def _pairs(path: Path, faults: Faults) -> list[RawImage]:
    found = []
    for line, content in enumerate(read_text(path).splitlines(), 1):
        text = forward_slashes(content.strip(), faults)
        if not text or text.startswith("#"):
            continue
        for separator in ("\t", ",", None):
            words = [word.strip() for word in text.split(separator) if word.strip()]
            if len(words) == 2:
                image, mask = (str(path.parent / word) for word in words)
                found.append(RawImage(image, f"{path}, line {line}", mask_path=mask))
                break
        else:
            what = f"{content.strip()!r} is not an image and its mask, with a blank between."
            faults.add("broken line", f"{path}, line {line}", what)
    return found


def write(samples: Samples, folder: StrPath, *, ignore_index: int = 255) -> list[str]:
    """Write ``masks/NAME.png`` with a palette for each image, drawn from outlines.

    Class ``c`` has the value ``c + 1``; 0 is the background, crowds are ``ignore_index``.

    Returns:
        What the format cannot hold, a line each.
    """
    target = Path(folder) / "masks"
    target.mkdir(parents=True, exist_ok=True)
    bare = points = 0
    for sample in samples:
        save_mask(
            mask_of_outlines(sample, ignore_index=ignore_index),
            target / f"{Path(sample.path).stem}.png",
        )
        bare += sum(outline is None for outline in sample.outlines)
        points += len(sample.boxes) if sample.points is not None else 0
    lost = ["which object a pixel belongs to"]
    if bare:
        lost.append(f"{bare} boxes without an outline, left out")
    if points:
        lost.append(f"key points of {points} objects")
    return lost
