"""Small pictures with every source of randomness, and hashes of what a loader makes of them."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from torchvision.transforms import v2

from basetrainer.datasets.mixing import get_collate

NUM_CLASSES = 5

quiet_workers = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # on a machine of one core
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),  # fork, Python 3.12
]


class Pictures(Dataset[Any]):
    """Images that torchvision crops, flips and dyes; ``random`` and numpy draw, too."""

    def __init__(self, size: int = 40) -> None:
        self.size = size
        self.transform: Any = v2.Compose(
            [v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(), v2.ColorJitter(0.2, 0.2)]
        )

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        pixels = torch.arange(3 * 12 * 12).reshape(3, 12, 12).mul(index + 1).remainder(251)
        image = self.transform(pixels.to(torch.uint8))
        return image, index % NUM_CLASSES, index, random.random(), float(np.random.rand())


mixed = get_collate(["mixup", "cutmix"], NUM_CLASSES)
"""A collate function that draws."""


class Counted(Dataset[int]):
    """Remembers in this process which samples were made."""

    def __init__(self, size: int = 20) -> None:
        self.size = size
        self.made: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        self.made.append(index)
        return index


class Worker(Dataset[Any]):
    """Says which process makes a sample, and what its attributes are there."""

    def __init__(self) -> None:
        self.size = 8
        self.mosaic = True

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[int, bool]:
        info: Any = get_worker_info()
        return (0 if info is None else os.getpid()), self.mosaic


class Stream(IterableDataset[Any]):
    """Numbers with draws, that can save its place."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.place = 0

    def __iter__(self) -> Iterator[Any]:
        while self.place < self.size:
            self.place += 1
            yield self.place - 1, torch.rand(()), random.random()
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def digest(batches: Iterable[Any]) -> str:
    """Hash every tensor of every batch."""
    found = hashlib.sha256()
    for batch in batches:
        for part in batch if isinstance(batch, (list, tuple)) else [batch]:
            found.update(np.ascontiguousarray(torch.as_tensor(part).numpy()).tobytes())
    return found.hexdigest()


def draws() -> tuple[float, float, float]:
    """One number of each global generator, as training would draw it."""
    return float(torch.rand(())), random.random(), float(np.random.rand())
