"""The work that all programs do: data, net, and a journal of what was done when.

It imports nothing but torch and torchvision, so that no program pays for another one's imports.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

SEED = 2020
BATCH = 32
STEPS = 200
"""Of an epoch."""

SAVE_EVERY = 50
"""Steps between two checkpoints."""


@dataclass
class Job:
    """What a program is told on its command line."""

    folder: Path
    """Where it may write."""

    epochs: int
    journal: Path


def job() -> Job:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("epochs", type=int)
    parser.add_argument("journal", type=Path)
    torch.set_num_threads(1)
    return Job(**vars(parser.parse_args()))


class Images(Dataset[tuple[Tensor, int]]):
    """Noise in ten classes, cropped and flipped at random by the global generators."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        shape = (BATCH * STEPS, 3, 36, 36)
        self.images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(10, (len(self.images),), generator=generator).tolist()
        self.change = v2.Compose([v2.RandomCrop(32), v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(self.images[index]).float() / 255, self.labels[index]


class Net(nn.Sequential):
    """Three convolutions with BatchNorm, and dropout."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 32, 1), (32, 64, 2), (64, 128, 2)):
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10)]
        super().__init__(*layers)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """Return the same optimizer for all."""
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)


def write_hash(folder: Path, state: dict[str, Any]) -> None:
    """Write a hash of the final weights."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(state[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    (folder / "hash.txt").write_text(found.hexdigest())


class Journal:
    """What an attempt did, in a file that is mapped into memory and so outlives a kill.

    Args:
        path: The file.
    """

    FORM = "<dqqqd"

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(struct.calcsize(self.FORM)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._first_time = 0.0
        self._first_step = self._steps = self._saves = 0
        self._save_seconds = 0.0

    def begin(self, step: int) -> None:
        """Note that a step begins; ``step`` counts from 0 over the whole run."""
        if not self._first_time:
            self._first_time, self._first_step = time.time(), step
            self._write()

    def end(self) -> None:
        """Note that a step is done."""
        self._steps += 1
        self._write()

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time a save."""
        begin = time.perf_counter()
        yield
        self._save_seconds += time.perf_counter() - begin
        self._saves += 1
        self._write()

    def _write(self) -> None:
        values = (self._first_time, self._first_step, self._steps, self._saves, self._save_seconds)
        struct.pack_into(self.FORM, self._memory, 0, *values)
