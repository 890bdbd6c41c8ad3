"""Whether cost and memory grow: with the run's length, the test set, the classes, the callbacks.

    python -m benchmarks.growth                      # a million steps, about five minutes
    python -m benchmarks.growth --steps 20000 --samples 20000

A network of 32-32-10 on ready-made batches of 32, one thread. All figures are CPU time, since the
machine may be shared. Losses and accuracy are recorded, lines and TensorBoard are written, and
checks for NaN are on, as they are by default.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import basetrainer as bt
from benchmarks.timing import interleaved, spread

BATCH, CLASSES = 32, 10
Batch = tuple[Tensor, Tensor]


class Batches:
    """The same ready-made batches again and again; costs next to nothing.

    Args:
        num_batches: How many.
        classes: Number of classes.
    """

    batch_size = BATCH

    def __init__(self, num_batches: int, classes: int = CLASSES) -> None:
        draw = torch.Generator().manual_seed(0)
        self._num = num_batches
        self._ready = [
            (torch.randn(BATCH, 32, generator=draw), torch.randint(classes, (BATCH,)))
            for _ in range(64)
        ]

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[Batch]:
        for number in range(self._num):
            yield self._ready[number % 64]


class Trainer(bt.EngineTrainer):
    """A small network on such batches."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return Batches(cfg["steps"], cfg.get("classes", CLASSES))

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return Batches(cfg["tests"], cfg.get("classes", CLASSES)) if "tests" in cfg else None

    def build_model(self, cfg: Any, **kwargs: Any) -> nn.Module:
        classes = cfg.get("classes", CLASSES)
        model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, classes))
        return self.build_model_parallel(model)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> nn.Module:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return bt.get_optimizer(self.model, lr=0.01, momentum=0.9)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return cfg["callbacks"]


def make(callbacks: list[Any], **cfg: Any) -> Trainer:
    """Return a trainer of one epoch that shows nothing."""
    settings = {"num_epochs": 1, "progress": False, "log_freq": 50, "steps": 1}
    return Trainer({**settings, **cfg, "callbacks": callbacks})


class Meter(bt.Callback):
    """CPU time and memory at chosen steps.

    Args:
        at: Steps.
    """

    def __init__(self, at: list[int]) -> None:
        super().__init__()
        self._at = frozenset(at)
        self.seconds: dict[int, float] = {}
        self.mebibytes: dict[int, float] = {}

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch in self._at:
            self.seconds[batch] = time.process_time()
            self.mebibytes[batch] = resident()


def resident() -> float:
    """Return the MiB of memory that this process has now."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # the most there was: macOS


def run_length(steps: int, folder: str) -> None:
    """Print the cost of a step, and the memory, from the beginning to the end of a run."""
    window = min(10_000, steps // 4)
    starts = sorted({1000, steps // 100, steps // 10, steps // 2, steps - window - 1})
    starts = [one for one in starts if 1000 <= one < steps - window]
    ends = [one + window for one in starts]
    meter = Meter([*starts, *ends])
    recorders = [bt.LossesRecorder(), bt.AccuracyRecorder()]
    make([*recorders, bt.LogHistory(folder, 50), meter], steps=steps).run()
    print(f"\n| step | us a step, over {window:,} steps | to the first | MiB |\n|---|---|---|---|")
    first = None
    for start, end in zip(starts, ends, strict=True):
        cost = 1e6 * (meter.seconds[end] - meter.seconds[start]) / window
        first = first or cost
        print(f"| {start:,} | {cost:.1f} | {cost / first:.3f} | {meter.mebibytes[end]:.1f} |")


def test_set(sizes: list[int], rounds: int) -> None:
    """Print the cost of one test sample, by the size of the test set."""

    def cost(samples: int) -> Callable[[], float]:
        recorders = [bt.LossesRecorder(), bt.AccuracyRecorder()]
        trainer = make(recorders, tests=samples // BATCH)

        def test() -> float:
            begin = time.process_time()
            trainer.test()
            return (time.process_time() - begin) / (samples // BATCH * BATCH)

        return test

    found = interleaved({f"{size:,}": cost(size) for size in sizes}, rounds)
    _table("test samples", "us a sample", found)


def classes(counts: list[int], rounds: int) -> None:
    """Print what recording adds to the test of a sample, by the number of classes."""

    def cost(num: int) -> Callable[[], float]:
        bare = make([], tests=2000, classes=num)
        full = make([bt.AccuracyRecorder()], tests=2000, classes=num)

        def test() -> float:
            seconds = []
            for trainer in (bare, full):
                begin = time.process_time()
                trainer.test()
                seconds.append(time.process_time() - begin)
            return (seconds[1] - seconds[0]) / (2000 * BATCH)

        return test

    _table("classes", "us a sample", interleaved({f"{n:,}": cost(n) for n in counts}, rounds))


class Silent(bt.Callback):
    """Hears nothing."""


class Hears(bt.Callback):
    """Hears one hook, and does nothing."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


def callbacks(counts: list[int], rounds: int) -> None:
    """Print the cost of a step, by the number of callbacks."""

    def cost(kind: type[bt.Callback], num: int) -> Callable[[], float]:
        def train() -> float:
            meter = Meter([1000, 5999])
            make([*(kind() for _ in range(num)), meter], steps=6000).run()
            return (meter.seconds[5999] - meter.seconds[1000]) / 4999

        return train

    things = {"none": cost(Silent, 0)}
    for num in counts:
        things[f"{num} that hear nothing"] = cost(Silent, num)
    for num in counts:
        things[f"{num} that hear on_batch_end"] = cost(Hears, num)
    _table("callbacks", "us a step", interleaved(things, rounds))


def _table(kind: str, unit: str, samples: dict[str, list[float]]) -> None:
    first = statistics.median(next(iter(samples.values())))
    print(f"\n| {kind} | {unit} | to the first |\n|---|---|---|")
    for name, times in samples.items():
        ratio = statistics.median(times) / first
        # interleaved() gives milliseconds; these are of one sample or step.
        print(f"| {name} | {spread([1e3 * one for one in times], 2)} | {ratio:.3f} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="Whether cost and memory grow.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=1_000_000, help="of the largest test set")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run_length(args.steps, folder)
    test_set(sorted({10_000, args.samples // 10, args.samples}), args.rounds)
    classes([10, 100, 1000], args.rounds)
    callbacks([10, 100], args.rounds)


if __name__ == "__main__":
    main()
