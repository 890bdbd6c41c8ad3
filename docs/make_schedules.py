"""Draw one picture of each schedule into docs/assets, as docs/builders.md shows them.

    python -m docs.make_schedules

A run of 30 epochs of 20 updates each, the highest learning rate 0.1, two epochs of warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from basetrainer.scheduler.build_scheduler import get_scheduler
from basetrainer.scheduler.draw import draw_lr, lr_curve
from basetrainer.scheduler.plateau import PlateauLR
from basetrainer.scheduler.scheduler import LRScheduler

ASSETS = Path(__file__).parent / "assets"
EPOCHS, UPDATES, LR, WARM_UP = 30, 20, 0.1, 2

CURVES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "multi_step": {"milestones=[15, 24]": {"milestones": [15, 24]}},
    "cosine": {"num_cycles=1": {}, "num_cycles=2, decay=0.5": {"num_cycles": 2, "decay": 0.5}},
    "CosineAnnealingLR": {"lr_min=1e-6": {}},
    "exp": {"decay=0.95": {}, "decay=0.9": {"decay": 0.9}},
    "LambdaLR": {"lrf=0.2": {}, "linear_lr=True": {"linear_lr": True}},
    "constant": {"": {}},
    "linear": {"lr_min=0": {}, "lr_min=0.02": {"lr_min": 0.02}},
    "poly": {"power=0.9": {}, "power=2": {"power": 2.0}},
    "cosine_step": {"lr_min=0": {}, "min_lr_ratio=0.2": {"min_lr_ratio": 0.2}},
    "cosine_restarts": {
        "num_cycles=3, decay=0.7": {"num_cycles": 3, "decay": 0.7},
        "num_cycles=3, cycle_mult=2": {"num_cycles": 3, "cycle_mult": 2},
    },
    "one_cycle": {"pct_start=0.3": {"num_warn_up": 0}, "num_warn_up=15": {"num_warn_up": 15}},
    "plateau": {"patience=3, factor=0.3": {"patience": 3, "factor": 0.3}},
}
"""Schedule -> what the legend says -> arguments."""


def curve(name: str, options: Mapping[str, Any]) -> list[float]:
    """Return the learning rate of every update."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    arguments = {"num_warn_up": WARM_UP, **options}
    scheduler = get_scheduler(name, optimizer, LR, EPOCHS, UPDATES, **arguments)
    return watched(scheduler) if isinstance(scheduler, PlateauLR) else lr_curve(scheduler)


def watched(scheduler: PlateauLR) -> list[float]:
    """Return the curve of a loss that stands still from epoch 8 and, lower, from epoch 18 on."""
    rates: list[float] = []
    for epoch in range(EPOCHS):
        rates += one_epoch(scheduler, epoch)
        scheduler.judge(1.0 / (1 + min(epoch, 8)) - 0.01 * max(0, min(epoch, 18) - 13), epoch)
    return rates


def one_epoch(scheduler: LRScheduler, epoch: int) -> list[float]:
    """Return the learning rates of an epoch."""
    return [scheduler.lr_at(epoch, step) for step in range(UPDATES)]


def main() -> None:
    """Draw all pictures and print their names and sizes."""
    for name, options in CURVES.items():
        curves = {label: curve(name, arguments) for label, arguments in options.items()}
        title = name if len(curves) > 1 else ", ".join(filter(None, [name, *curves]))
        file = ASSETS / f"schedule_{name.lower()}.png"
        path = draw_lr(curves, file, updates_per_epoch=UPDATES, title=title, size=(4.4, 2.6))
        print(f"{path.name}: {path.stat().st_size / 1000:.1f} KB")


if __name__ == "__main__":
    main()
