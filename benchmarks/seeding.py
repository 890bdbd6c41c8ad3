"""What seeding every sample costs, and how long a loader takes to start in mid-epoch.

    python -m benchmarks.seeding

A plain ``DataLoader`` and ours take turns over the same data. Each figure is the least of the
rounds, since the machine may be shared: CPU time of this process without workers, else wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from basetrainer.data.loader import build_dataloader
from basetrainer.data.resume import set_position
from basetrainer.data.seeding import Draws, PassSeeds

ROUNDS = 25
SAMPLES = 6400
BATCH = 32
DECODE_SECONDS = 0.0003


class Numbers(Dataset[int]):
    """Costs ``seconds`` a sample, and may draw for all that the loader knows."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> int:
        if self.seconds:
            time.sleep(self.seconds)
        return index


def seconds_of(batches: Iterable[Any], clock: Callable[[], float] = time.process_time) -> float:
    """Return how long one pass takes."""
    begin = clock()
    for _ in batches:
        pass
    return clock() - begin


def alone() -> float:
    """Return the microseconds a sample that seeding takes by itself."""
    seeds = PassSeeds(0, 0, Draws.SAMPLES, in_process=True)
    batches = [seeds([0] * BATCH, range(i, i + BATCH), i) for i in range(0, SAMPLES, BATCH)]
    return min(sum(seconds_of(batch) for batch in batches) / SAMPLES * 1e6 for _ in range(ROUNDS))


def added(dataset: Any, workers: int) -> tuple[float, float]:
    """Return the microseconds a sample of a plain loader, and what ours adds to them."""
    plain = DataLoader(
        dataset, BATCH, shuffle=False, num_workers=workers, persistent_workers=workers > 0
    )
    ours = build_dataloader(dataset, BATCH, workers, shuffle=False)
    clock = time.perf_counter if workers else time.process_time
    for loader in (plain, ours):
        seconds_of(loader)
    pairs = [(seconds_of(plain, clock), seconds_of(ours, clock)) for _ in range(ROUNDS)]
    base, total = (min(one) / SAMPLES * 1e6 for one in zip(*pairs, strict=True))
    return base, total - base


def first_batch(workers: int, share: float) -> float:
    """Return the seconds until a new loader gives the batch at ``share`` of an epoch."""
    loader = build_dataloader(Numbers(DECODE_SECONDS), BATCH, workers)
    set_position(loader, 1, int(share * len(loader)))
    begin = time.perf_counter()
    next(iter(loader))
    spent = time.perf_counter() - begin
    loader.close()
    return spent


def main() -> None:
    """Print all figures."""
    torch.set_num_threads(1)
    print(f"seeding alone: {alone():.1f} us a sample")
    print("\n| data | workers | plain, us a sample | ours adds, us |\n|---|---|---|---|")
    tensors = TensorDataset(torch.zeros(SAMPLES, 4))
    for name, dataset in (("may draw", Numbers()), ("TensorDataset", tensors)):
        for workers in (0, 2):
            base, more = added(dataset, workers)
            print(f"| {name} | {workers} | {base:.1f} | {more:+.1f} |")
    print("\n| workers | first batch, s | at 90 % of the epoch, s |\n|---|---|---|")
    for workers in (0, 2):
        pairs = [(first_batch(workers, 0.0), first_batch(workers, 0.9)) for _ in range(ROUNDS)]
        cold, late = (min(one) for one in zip(*pairs, strict=True))
        print(f"| {workers} | {cold:.3f} | {late:.3f} |")


if __name__ == "__main__":
    main()
