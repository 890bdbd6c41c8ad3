"""What the strengths of balance do to rare classes, on made images.

    python -m benchmarks.balance                  # about five minutes on one core
    python -m benchmarks.balance --plain          # the same without augmentation

Eight classes, red shapes in noise: 2,400 images for training, whose classes fall in size from the
largest to about a hundredth of it. Every run has the same images, network and number of updates;
only how often each image is shown differs. It is tested after the last epoch on 100 further images
of each class. The minority are the four rarest classes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import basetrainer as bt
from basetrainer.datasets.balance import resample_weights
from basetrainer.datasets.generated import KINDS, class_sizes, generate_images
from basetrainer.datasets.transforms import get_transforms
from basetrainer.metric.functional import class_scores

RED_SHAPES = [place for place, (color, _) in enumerate(KINDS) if color == "red"]
CLASSES, TRAIN, TEST, IMBALANCE = len(RED_SHAPES), 2400, 100, 100
SIZES = class_sizes(TRAIN, CLASSES, IMBALANCE)
SIZE, NOISE = 24, 60.0  # pixels; grey levels
EPOCHS, BATCH, LR = 16, 32, 0.02


class BalanceTrainer(bt.EngineTrainer):
    """A small convolutional network on images of unequal classes."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = Images(SIZES, [] if cfg["plain"] else ["flip", "affine"], cfg["seed"])
        weights = resample_weights(data.targets, cfg["resample"])
        return self.build_dataloader(data, BATCH, 0, drop_last=True, weights=weights)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = Images([TEST] * CLASSES, [], cfg["seed"] + 1000)
        return self.build_dataloader(data, 100, 0, shuffle=False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)]
        return self.build_model_parallel(nn.Sequential(*layers, *head))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> nn.Module:
        return bt.get_criterion("CELoss")

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return bt.get_optimizer(self.model, lr=LR, momentum=0.9, weight_decay=5e-4)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> list[bt.Callback]:
        self.accuracy = bt.AccuracyRecorder()
        scheduler = bt.get_scheduler("cosine", self.optimizer, LR, self.num_epochs, self.num_steps)
        return [self.accuracy, scheduler]


class Images(Dataset[tuple[Tensor, int]]):
    """Generated images of given classes, transformed.

    Args:
        sizes: Images of each class.
        names: Transforms by name.
        seed: Chooses the images.
    """

    def __init__(self, sizes: Sequence[int], names: Any, seed: int) -> None:
        self.targets = [label for label, size in enumerate(sizes) for _ in range(size)]
        kinds = [RED_SHAPES[label] for label in self.targets]
        pixels = generate_images(kinds, size=SIZE, noise=NOISE, seed=seed)
        self.images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        self.transform = get_transforms(names, [SIZE, SIZE], mean=0.5, std=0.5)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and class."""
        return self.transform(self.images[index]), self.targets[index]


def run(resample: str, **cfg: Any) -> dict[str, float]:
    """Train once; return recalls and accuracies in percent."""
    strength = None if resample == "none" else resample
    trainer = BalanceTrainer({"progress": False, "resample": strength, **cfg})
    trainer.run()
    if trainer.accuracy.matrix is None:
        raise RuntimeError("The network was not tested.")
    recall: Tensor = 100 * class_scores(trainer.accuracy.matrix)["recall"].double()
    return {
        "minority recall": float(recall[CLASSES // 2 :].mean()),
        "majority recall": float(recall[: CLASSES // 2].mean()),
        "accuracy, classes equally often": float(recall.mean()),
        "accuracy, classes as in training": float((recall * torch.tensor(SIZES)).sum() / TRAIN),
    }


def main() -> None:
    """Print a table of means over the seeds, in percent, and the figure of each seed."""
    parser = argparse.ArgumentParser(description="What balance does to rare classes.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022])
    parser.add_argument("--strengths", nargs="+", default=["none", "sqrt", "log", "mean"])
    parser.add_argument("--plain", action="store_true", help="no augmentation")
    args = parser.parse_args()
    torch.set_num_threads(1)  # so small a network gains nothing from more
    print(f"class sizes: {SIZES}")
    for number, strength in enumerate(args.strengths):
        runs = [
            run(strength, num_epochs=EPOCHS, plain=args.plain, seed=seed) for seed in args.seeds
        ]
        if not number:
            print(f"| resample | {' | '.join(runs[0])} |\n|---|{'---|' * len(runs[0])}")
        cells = []
        for name in runs[0]:
            figures = [one[name] for one in runs]
            each = ", ".join(f"{figure:.1f}" for figure in figures)
            cells.append(f"{statistics.mean(figures):.1f} ({each})")
        print(f"| {strength} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
