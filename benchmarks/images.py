"""Training on JPEGs, end to end and the input alone, against loops written by hand.

    python -m benchmarks.images                    # about ten minutes on two cores
    python -m benchmarks.images --workers 2        # for the loaders of both sides
    python -m benchmarks.images --images 256 --rounds 3

ResNet-18 on generated JPEGs of 96x96 pixels, resized to 64x64 and flipped at random, batches of 32.
By hand is what an expert writes with torch and torchvision alone: ImageFolder, the transforms of
torchvision, a DataLoader whose workers live on, SGD, the mean loss and accuracy of the epoch. All
take turns; every figure is the wall time of a whole epoch after one that warms up. Each side proves
that it saw as many images of each class as there are. Trainings run in processes of their own,
since how memory is kept is a setting of the process.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

import basetrainer as bt
from basetrainer.data.disk_cache import cache_images
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.generated import write_image_folder
from basetrainer.datasets.image_dataset import ImageDataset
from basetrainer.datasets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from basetrainer.datasets.transforms import get_transforms
from basetrainer.engine.precision import bf16_unit
from benchmarks.timing import interleaved, spread

CLASSES, STORED, SIZE, BATCH, LR = 10, 96, 64, 32, 0.02
CPU = torch.device("cpu")
Batch = tuple[Tensor, Tensor]


def plain_loader(folder: Path, workers: int) -> DataLoader[Any]:
    """Return what the documentation of torchvision tells to write."""
    transform = v1.Compose(
        [
            v1.Resize((SIZE, SIZE)),
            v1.RandomHorizontalFlip(),
            v1.ToTensor(),
            v1.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    return DataLoader(ImageFolder(folder, transform), BATCH, shuffle=True, **options)


def our_data(folder: Path, cache: Path | None) -> tuple[ImageDataset, Normalize]:
    """Return our dataset of uint8 images, and what normalises a batch of them."""
    transform, normalize = get_transforms(["resize", "flip"], SIZE).split()
    data = open_dataset(folder, transform)
    if normalize is None:
        raise ValueError("there is always a normalisation unless it is switched off")
    return (data if cache is None else cache_images(data, folder=cache)), normalize


def check(labels: list[Tensor], folder: Path) -> None:
    """Stop unless there were as many labels of each class as there are images of it."""
    seen = torch.cat(labels).bincount(minlength=CLASSES).tolist()
    there = [sum(1 for _ in one.iterdir()) for one in folder.iterdir()]
    if sorted(seen) != sorted(there):
        raise RuntimeError(f"an epoch saw {seen} images of each class, there are {there}")


def by_hand(folder: Path, workers: int, *, fast: bool) -> float:
    """Train two epochs, and return the seconds of the second."""
    torch.manual_seed(0)
    loader = plain_loader(folder, workers)
    layout = torch.channels_last if fast else torch.contiguous_format
    uses_bf16 = fast and bool(bf16_unit(CPU))
    model = resnet18(num_classes=CLASSES).to(memory_format=layout)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    seconds, seen = 0.0, list[Tensor]()
    for _ in range(2):
        begin, seen = time.perf_counter(), []
        model.train()
        loss_sum, hits = torch.zeros(()), torch.zeros(())
        for images, labels in loader:
            inputs = images.to(memory_format=layout)
            with torch.autocast("cpu", torch.bfloat16) if uses_bf16 else nullcontext():
                outputs = model(inputs)
                loss = criterion(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum += loss * len(labels)
                hits += (outputs.argmax(1) == labels).sum()
            seen.append(labels)
        loss_sum.item(), hits.item()
        seconds = time.perf_counter() - begin
    check(seen, folder)
    return seconds


class Trainer(bt.EngineTrainer):
    """The same with this library."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data, self.normalize = our_data(cfg["folder"], cfg["cache"])
        return self.build_dataloader(data, BATCH, cfg["workers"])

    def to_device(self, inputs: Any) -> Any:
        images, labels = super().to_device(inputs)
        return self.normalize(images), labels

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return None

    def build_model(self, cfg: Any, **kwargs: Any) -> nn.Module:
        return self.build_model_parallel(resnet18(num_classes=CLASSES))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> nn.Module:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return bt.get_optimizer(self.model, lr=LR, momentum=0.9)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> list[bt.Callback]:
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), Watch()]


class Watch(bt.Callback):
    """Times each epoch, and keeps the labels that it saw."""

    seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.seen: list[Tensor] = []
        self.begin = time.perf_counter()

    def on_train_summary(
        self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
    ) -> None:
        self.seen.append(inputs[1])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        _ = (logs or {})["train"]["loss"]
        self.seconds = time.perf_counter() - self.begin


FP32: dict[str, Any] = {}
KEEPING: dict[str, Any] = {"keep_memory": True}
FAST: dict[str, Any] = {"amp": "auto", "channels_last": True, **KEEPING}


def ours(folder: Path, cache: Path | None, workers: int, speed: dict[str, Any]) -> float:
    """Train two epochs with this library, and return the seconds of the second."""
    cfg = {"num_epochs": 2, "progress": False, "folder": folder, "cache": cache, **speed}
    trainer = Trainer({**cfg, "workers": workers, "log_freq": 0})
    trainer.run()
    (watch,) = (one for one in trainer.callbacks if isinstance(one, Watch))
    check(watch.seen, folder)
    return watch.seconds


TRAININGS: dict[str, Callable[[Path, Path, int], float]] = {
    "by hand, fp32": lambda folder, _, workers: by_hand(folder, workers, fast=False),
    "ours, fp32": lambda folder, _, workers: ours(folder, None, workers, FP32),
    "ours, fp32, cache, keep_memory": lambda folder, cache, workers: ours(
        folder, cache, workers, KEEPING
    ),
    "by hand, bf16, channels_last": lambda folder, _, workers: by_hand(folder, workers, fast=True),
    "ours, as fast.yaml": lambda folder, cache, workers: ours(folder, cache, workers, FAST),
}


def in_a_process(name: str, folder: Path, args: argparse.Namespace) -> float:
    """Return what a training says of itself, in a process of its own."""
    flags = ["--one", name, "--folder", folder, "--workers", args.workers]
    command = [sys.executable, "-m", "benchmarks.images", *flags, "--threads", args.threads]
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return float(done.stdout)


def one_pass(batches: Iterable[Batch], folder: Path, normalize: Callable[..., Any] | None) -> float:
    """Return the seconds of one pass over a loader."""
    begin, seen = time.perf_counter(), []
    for images, labels in batches:
        if normalize is not None:
            images = normalize(images)  # what the step would get
        seen.append(labels)
        if images.dtype != torch.float32:
            raise RuntimeError("the step would get images that are not normalised")
    seconds = time.perf_counter() - begin
    check(seen, folder)
    return seconds


def inputs_alone(folder: Path, cache: Path, workers: int) -> dict[str, Callable[[], float]]:
    """Return loaders that give normalised batches, each warmed up; they keep their workers."""
    things: dict[str, Callable[[], float]] = {}
    plain = plain_loader(folder, workers)
    things["plain DataLoader"] = lambda: one_pass(plain, folder, None)
    per_sample = open_dataset(folder, get_transforms(["resize", "flip"], SIZE))
    for name, data, normalize in (
        ("ours, normalised in the loader", per_sample, None),
        ("ours", *our_data(folder, None)),
        ("ours, cache: disk", *our_data(folder, cache)),
    ):
        loader = bt.EngineTrainer.build_dataloader(data, BATCH, workers)
        things[name] = lambda one=loader, to=normalize: one_pass(one, folder, to)  # type: ignore[misc]
    return things


def table(title: str, samples: dict[str, list[float]], num_images: int) -> None:
    """Print a row for each; speeds over the first, the medians of the ratios round by round."""
    first = next(iter(samples.values()))
    print(f"\n| {title} | images/s | ms an epoch | speed over the first |\n|---|---|---|---|")
    for name, times in samples.items():
        speed = 1e3 * num_images / statistics.median(times)
        ratios = [base / one for base, one in zip(first, times, strict=True)]
        print(f"| {name} | {speed:,.0f} | {spread(times)} | {spread(ratios, 2)} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="Training on JPEGs against loops by hand.")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=("input", "training"))
    parser.add_argument("--one", choices=tuple(TRAININGS), help="print the seconds of one training")
    parser.add_argument("--folder", type=Path, help="for --one: the place of its images")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        print(TRAININGS[args.one](args.folder / "images", args.folder / "cache", args.workers))
        return
    print(
        f"{args.images} images, {args.workers} workers, {args.threads} threads; bf16 by "
        f"{bf16_unit(CPU) or 'nothing: amp auto is fp32 here'}; medians and quartiles of "
        f"{args.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "images")
        write_image_folder(
            folder, num_images=args.images, num_classes=CLASSES, size=STORED, suffix=".jpg"
        )
        if args.only != "training":
            things = inputs_alone(folder, Path(place, "cache"), args.workers)
            table("input alone", interleaved(things, args.rounds), args.images)
        if args.only != "input":
            names = tuple(TRAININGS)
            samples = interleaved(
                {
                    name: functools.partial(in_a_process, name, Path(place), args)
                    for name in TRAININGS
                },
                args.rounds,
            )
            table("ResNet-18, end to end", samples, args.images)
            table("the last two", {name: samples[name] for name in names[-2:]}, args.images)


if __name__ == "__main__":
    main()
