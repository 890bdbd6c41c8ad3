"""The work that all loops do: data, nets, optimizer, and a clock that the data read.

It imports nothing but torch, so that no program pays for another one's imports.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

LR = 0.05
MOMENTUM = 0.9
LOG_EVERY = 50
"""Steps between two points in TensorBoard."""

SAVE_EVERY = 500
"""Steps between two checkpoints, where there are any."""

EMA_DECAY = 0.999
BATCH = 32
LEVELS = ("bare", "full", "safe")
"""Forward, backward and update; the same with figures, bar, TensorBoard and schedule; the same with
averaged weights and checkpoints."""

Batch = tuple[Tensor, Tensor]


class Clocked(Dataset[Batch]):
    """Ready-made batches in a circle; notes when an early and the last one are asked for.

    So the clock is the same for whoever drives the loop, and neither set-up nor tear-down count.

    Args:
        shape: Of one sample.
        steps: How many batches there are.
        first: The batch at which the clock starts.
    """

    is_deterministic = True  # nothing is drawn

    def __init__(self, shape: tuple[int, ...], steps: int, first: int) -> None:
        draw = torch.Generator().manual_seed(1)
        self.batches = [
            (
                torch.randn(BATCH, *shape, generator=draw),
                torch.randint(10, (BATCH,), generator=draw),
            )
            for _ in range(64)
        ]
        self.steps = steps
        self.first = first
        self.times: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        if index == self.first or index == self.steps - 1:
            self.times.append((time.process_time(), time.perf_counter()))
        return self.batches[index % 64]

    def per_step(self) -> tuple[float, float]:
        """Return the microseconds of a step, by CPU time and by the wall clock."""
        (cpu, wall), (cpu_end, wall_end) = self.times
        between = self.steps - 1 - self.first
        return (cpu_end - cpu) / between * 1e6, (wall_end - wall) / between * 1e6


@dataclass
class Work:
    """One training of so many steps.

    Args:
        case: ``mlp``, a step of about 0.1 ms, or ``cnn``, one of about 9 ms.
        level: Of :data:`LEVELS`.
        steps: Batches; there is one epoch.
        folder: Where files may go.
    """

    case: str
    level: str
    steps: int
    folder: Path

    def __post_init__(self) -> None:
        torch.manual_seed(2020)
        shape = (32,) if self.case == "mlp" else (3, 32, 32)
        self.data = Clocked(shape, self.steps, self.steps // 10)
        self.model = mlp() if self.case == "mlp" else cnn()
        self.criterion = nn.CrossEntropyLoss()

    @property
    def has_figures(self) -> bool:
        """Whether everything is recorded."""
        return self.level != "bare"

    @property
    def is_safe(self) -> bool:
        """Whether there are averaged weights and checkpoints."""
        return self.level == "safe"

    def loader(self) -> DataLoader[Batch]:
        """Return a plain loader, which hands the batches out as they are."""
        return DataLoader(self.data, batch_size=None)

    def optimizer(self) -> torch.optim.Optimizer:
        """Return torch's SGD, as it is by default."""
        return torch.optim.SGD(self.model.parameters(), lr=LR, momentum=MOMENTUM)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step: a cosine from LR to 0."""
        return LR * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


def only(batches: list[Batch]) -> Batch:
    """Hand a ready-made batch out as it is: for loaders that must make batches, of one."""
    return batches[0]


only.is_deterministic = True  # type: ignore[attr-defined]


def mlp() -> nn.Module:
    """Return a network so small that the host is all that counts."""
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))


def cnn() -> nn.Module:
    """Return three convolutions with BatchNorm."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 32, 1), (32, 64, 2), (64, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
