"""check_data: read every image once and say what is wrong with the data."""

from __future__ import annotations

import collections
import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.decode import decode_tensor, read_bytes
from basetrainer.datasets.image_dataset import ImageDataset
from basetrainer.datasets.report import BadFile, Copy, PartReport, Report
from basetrainer.errors import ConfigError, DataError

_CHUNK = 64  # images of one task: enough to make its cost vanish, few enough for a live progress


class _Look(NamedTuple):
    """What one image showed."""

    digest: bytes | None = None
    size: tuple[int, int] | None = None
    reason: str = ""


def check_data(
    train: ImageDataset,
    test: ImageDataset | Mapping[str, ImageDataset] | None = None,
    *,
    num_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Read and decode every image once.

    Args:
        train: The training data.
        test: The test data, if any, or several sets by name; copies are looked for across all.
        num_threads: Images read at the same time; None: one per core.
        progress: Called as ``progress(done, total)``, in images, from this thread.

    Returns:
        Counts per class, sizes, missing and broken files, files with the same bytes.
    """
    datasets = {"train": train}
    if isinstance(test, Mapping):
        datasets |= {f"test {name}": one for name, one in test.items()}
    elif test is not None:
        datasets["test"] = test
    total = sum(map(len, datasets.values()))
    done = 0
    parts: list[PartReport] = []
    copies: dict[bytes, list[Copy]] = collections.defaultdict(list)
    with ThreadPoolExecutor(num_threads or os.cpu_count()) as executor:
        for name, dataset in datasets.items():
            looks: list[_Look] = []
            for chunk in executor.map(functools.partial(_look_at, dataset), _chunks(dataset)):
                looks += chunk
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            for place, look in enumerate(looks):
                if look.digest is not None:
                    path, label = dataset.index.path(place), _label_text(dataset, place)
                    copies[look.digest].append(Copy(name, path, label))
            parts.append(_part(name, dataset, looks))
    duplicates = tuple(tuple(group) for group in copies.values() if len(group) > 1)
    return Report(tuple(parts), duplicates)


def check_config(
    cfg: Any,
    *,
    num_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check the data that a configuration names.

    Reads the keys ``train_data`` (a path or a list of them), ``test_data`` (likewise, or such under
    each of several names), ``class_name`` (list, file or dict) and ``data_root`` (where relative
    paths of list files start).

    Args:
        cfg: A dict or any object with attributes.
        num_threads: See :func:`check_data`.
        progress: See :func:`check_data`.

    Raises:
        ConfigError: If ``train_data`` is not set, or the data cannot be opened at all: a path is
            missing, a label means no class.
        DataError: If a list file cannot be read.
    """
    train_data = _setting(cfg, "train_data")
    if not train_data:
        raise ConfigError("train_data is not set: give a folder of class folders or a list file.")
    root = _setting(cfg, "data_root")
    train = open_dataset(train_data, class_names=_setting(cfg, "class_name"), root=root)
    test_data = _setting(cfg, "test_data")

    def opened(paths: Any) -> ImageDataset:
        return open_dataset(paths, like=train, root=root)

    tests: Any = None
    if isinstance(test_data, Mapping):
        tests = {name: opened(paths) for name, paths in test_data.items()}
    elif test_data:
        tests = opened(test_data)
    return check_data(train, tests, num_threads=num_threads, progress=progress)


def _part(name: str, dataset: ImageDataset, looks: list[_Look]) -> PartReport:
    sizes = collections.Counter(look.size for look in looks if look.size is not None)
    missing: list[BadFile] = []
    broken: list[BadFile] = []
    for place, look in enumerate(looks):
        if look.reason:
            path, _, where = dataset.index[place]
            (broken if Path(path).exists() else missing).append(BadFile(path, where, look.reason))
    counts = dataset.index.class_counts().tolist()
    return PartReport(
        name=name,
        sources=dataset.index.sources,
        num_images=len(dataset),
        class_counts=dict(zip(dataset.class_names, counts, strict=True)),
        sizes=dict(sizes),
        missing=tuple(missing),
        broken=tuple(broken),
    )


def _chunks(dataset: ImageDataset) -> list[range]:
    every = range(len(dataset))
    return [every[start : start + _CHUNK] for start in every[::_CHUNK]]


def _look_at(dataset: ImageDataset, places: range) -> list[_Look]:
    return [_look(dataset.index.path(place)) for place in places]


def _look(path: str) -> _Look:
    try:
        content = read_bytes(path)
    except DataError as error:
        return _Look(reason=str(error))
    digest = hashlib.blake2b(content.data, digest_size=16).digest()
    try:
        height, width = decode_tensor(content, path).shape[-2:]
    except DataError as error:
        return _Look(digest, reason=str(error))
    return _Look(digest, (width, height))


def _label_text(dataset: ImageDataset, place: int) -> str:
    names = dataset.index.classes.names
    target = dataset.targets[place]
    if not dataset.index.multi_label:
        return names[int(target)]
    return "|".join(names[label] for label in np.flatnonzero(target))


def _setting(cfg: Any, key: str) -> Any:
    """Return a setting; None if it is absent or empty."""
    value = cfg.get(key) if isinstance(cfg, Mapping) else getattr(cfg, key, None)
    return value or None
