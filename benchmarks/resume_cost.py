"""What it costs to go on at 90 % of an epoch, against a cold start; is anything decoded twice?

    python -m benchmarks.resume_cost [ROUNDS]

An epoch has 100 batches of 8 images; to decode one takes 1 ms. A start is timed to the end of the
first training step, workers and checkpoint included: from ``run()`` in a process that is warm, and
from the start of a process of its own. Decodings are counted per image, in memory that the loader
workers share.
"""

from __future__ import annotations

import itertools
import mmap
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import basetrainer as bt
from benchmarks.timing import interleaved, spread

BATCH, BATCHES, DONE = 8, 100, 90
SECONDS = 0.001
"""What decoding an image takes."""


class Images(Dataset[Any]):
    """Images that are slow to decode, and count how often they were."""

    def __init__(self) -> None:
        self.counts = mmap.mmap(-1, BATCH * BATCHES)  # shared with forked workers

    def __len__(self) -> int:
        return BATCH * BATCHES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            pass
        self.counts[index] += 1
        return torch.rand(3, 8, 8), index % 4


class Stop(bt.Callback):
    """Notes when the first step is done, and ends the run after so many steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.first = 0.0

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.first = self.first or time.perf_counter()
        if batch + 1 >= self.after and self.engine is not None:
            self.engine.stop("enough", is_final=False)


class Trainer(bt.EngineTrainer):
    """A small net on slow images."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.images = Images()
        self.begin = 0.0
        self.stop_at = Stop(cfg["stop_after"])
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        options: dict[str, Any] = {"multiprocessing_context": "fork"} if cfg["num_workers"] else {}
        return self.build_dataloader(self.images, BATCH, cfg["num_workers"], **options)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return None

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return [bt.LossesRecorder(), self.stop_at]


def start(folder: Path, num_workers: int, stop_after: int) -> Trainer:
    """Start or go on."""
    cfg = {"work_dir": str(folder), "resume": "auto", "progress": False}
    trainer = Trainer({**cfg, "num_workers": num_workers, "stop_after": stop_after})
    trainer.begin = time.perf_counter()
    trainer.run()
    trainer.train_loader.close()
    return trainer


def run(folder: Path, num_workers: int, stop_after: int) -> tuple[float, bytes]:
    """Start or go on; return the seconds to the first step, and each image's decodings."""
    trainer = start(folder, num_workers, stop_after)
    return trainer.stop_at.first - trainer.begin, trainer.images.counts[:]


def fresh(folder: Path, num_workers: int, stop_after: int) -> float:
    """Start or go on in a process of its own; return the seconds to the first step."""
    command = [sys.executable, "-m", __spec__.name, str(folder), str(num_workers), str(stop_after)]
    begin = time.time()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return float(done.stdout) - begin


def measure_processes(folder: Path, num_workers: int, rounds: int) -> str:
    """Return a row of the table, of processes of their own."""
    number = itertools.count()

    def resumed() -> float:
        place = folder / f"resumed{next(number)}"
        run(place, num_workers, DONE)
        return fresh(place, num_workers, BATCHES)

    starts = {
        "cold": lambda: fresh(folder / f"cold{next(number)}", num_workers, 1),
        "resumed": resumed,
    }
    samples = interleaved(starts, rounds)
    low, high = (statistics.median(samples[name]) for name in starts)
    cells = " | ".join(spread(one, 1) for one in samples.values())
    return f"| {num_workers}, from the process's start | {cells} | {100 * high / low:.0f} % | |"


def measure(folder: Path, num_workers: int, rounds: int) -> str:
    """Return a row of the table."""
    number = itertools.count()
    twice: list[int] = []

    def cold() -> float:
        return run(folder / f"cold{next(number)}", num_workers, 1)[0]

    def resumed() -> float:
        place = folder / f"resumed{next(number)}"
        _, before = run(place, num_workers, DONE)
        seconds, after = run(place, num_workers, BATCHES)
        # What workers had read ahead when the run was stopped is decoded again: it was not used.
        ahead = sum(before) - BATCH * DONE
        repeated = sum(1 for one, other in zip(before, after, strict=True) if one and other)
        twice.append(max(0, repeated - ahead))
        assert sum(after) == BATCH * (BATCHES - DONE)  # noqa: S101 # nothing but the rest
        return seconds

    samples = interleaved({"cold": cold, "resumed": resumed}, rounds)
    low, high = (statistics.median(samples[name]) for name in ("cold", "resumed"))
    row = (num_workers, *(spread(one, 1) for one in samples.values()), f"{100 * high / low:.0f} %")
    return f"| {' | '.join(map(str, row))} | {sum(twice)} |"


def main(rounds: int = 15) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print("| workers | cold start, ms | at 90 % of an epoch, ms | share | decoded twice |")
    print("|---|---|---|---|---|")
    for num_workers in (0, 2):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), num_workers, rounds), flush=True)
    for num_workers in (0, 2):
        with tempfile.TemporaryDirectory() as folder:
            print(measure_processes(Path(folder), num_workers, (rounds + 1) // 2), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        torch.set_num_threads(1)
        trainer = start(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
        print(trainer.stop_at.first + time.time() - time.perf_counter())
    else:
        main(*map(int, sys.argv[1:2]))
