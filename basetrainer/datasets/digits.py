"""scikit-learn's bundled handwritten digits as a folder of images."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from basetrainer._optional import require
from basetrainer.errors import ConfigError

TEST_EVERY = 5
"""Every fifth image of a class, in the file's order, is for testing."""

_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)  # images of the digits 0 to 9


def write_digits(root: str | os.PathLike[str]) -> Path:
    """Lay the 1,797 digits out as ``<root>/{train,test}/<digit>/<number>.png``, once.

    8x8 grey pixels, their 0 to 16 scaled to 0 to 255; 1,442 for training and 355 for testing, the
    same in every run. A folder that is complete is left alone, without loading scikit-learn.
    The files are written beside ``root`` and renamed when all are there: killed at any moment it
    leaves no half folder at ``root``, and several processes may call it at once.

    Args:
        root: Folder to make.

    Returns:
        ``root``.

    Raises:
        ConfigError: If ``root`` holds something else.
        MissingExtraError: If scikit-learn is not installed.
    """
    folder = Path(root)
    if _is_complete(folder):
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: holds something else than the complete digits. Remove it or give a folder "
            "that does not exist yet."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(beside / "digits")
        try:
            (beside / "digits").rename(folder)
        except OSError:
            # Another process was faster: its folder is the same as ours.
            if not _is_complete(folder):
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _counts(split: str) -> list[int]:
    for_test = [count // TEST_EVERY for count in _COUNTS]
    if split == "test":
        return for_test
    return [count - test for count, test in zip(_COUNTS, for_test, strict=True)]


def _is_complete(folder: Path) -> bool:
    try:
        return all(
            sum(1 for _ in os.scandir(folder / split / str(digit))) == count
            for split in ("train", "test")
            for digit, count in enumerate(_counts(split))
        )
    except OSError:
        return False


def _write(folder: Path) -> None:
    from PIL.Image import fromarray

    needed_by = "The digits example"
    datasets = require("sklearn.datasets", extra="example", needed_by=needed_by)
    digits = datasets.load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    seen = [0] * len(_COUNTS)
    for split in ("train", "test"):
        for digit in range(len(_COUNTS)):
            (folder / split / str(digit)).mkdir(parents=True)
    for number, (image, digit) in enumerate(zip(pixels, digits.target.tolist(), strict=True)):
        seen[digit] += 1
        split = "test" if seen[digit] % TEST_EVERY == 0 else "train"
        fromarray(image).save(folder / split / str(digit) / f"{number:04d}.png")
