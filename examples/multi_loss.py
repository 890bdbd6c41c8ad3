"""Several losses, and batches that are dicts: the class and the place of a blob.

python -m examples.multi_loss
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

import basetrainer as bt
from basetrainer.utils import log

SIZE = 16


class Blobs(Dataset[dict[str, Tensor]]):
    """Images of one bright blob, small or large, somewhere."""

    def __init__(self, num_images: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(2, (num_images,), generator=generator)
        self.places = 0.2 + 0.6 * torch.rand(num_images, 2, generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        axis = torch.linspace(0, 1, SIZE)
        x, y = self.places[index]
        width = 0.08 + 0.10 * self.labels[index]
        blob = torch.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / width**2)
        # torch's generator: the noise is the same again for each seed, epoch and index.
        image = blob[None] + 0.05 * torch.randn(1, SIZE, SIZE)
        return {"image": image, "label": self.labels[index], "place": self.places[index]}


class Net(nn.Module):
    """One body, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        )
        self.size, self.place = nn.Linear(256, 2), nn.Linear(256, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        return self.size(features), self.place(features)


class BlobTrainer(bt.EngineTrainer):
    """``run_step`` returns a dict of losses; they are summed for the backward pass."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(Blobs(512, 0), cfg["batch_size"], cfg["num_workers"])

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        workers = cfg["num_workers"]
        return self.build_dataloader(Blobs(128, 1), 64, workers, shuffle=False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(Net())

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return bt.get_optimizer(self.model, optim_type="AdamW", lr=3e-3)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        # Of all losses logs["test"]["loss"] has each by its name, and their total. The label of a
        # dict batch is found under "label", the logits first among the outputs.
        recorders = [bt.MultiLossesRecorder({"loss": ["size", "place"]}), bt.AccuracyRecorder()]
        return [*recorders, bt.LogHistory(f"{cfg['work_dir']}/log", cfg["log_freq"])]

    def run_step(self, inputs: dict[str, Tensor]) -> Any:
        size, place = self.model(inputs["image"])
        losses = {
            "size": self.criterion(size, inputs["label"]),
            "place": 20 * functional.smooth_l1_loss(place, inputs["place"]),
        }
        return (size, place), losses


def main(argv: list[str] | None = None) -> Any:
    """Train, and return the logs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_epochs", type=int, default=8)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument("--work_dir", default="blobs")
    parser.add_argument("--log_freq", type=int, default=10)
    log.set_logger(level="info")
    return BlobTrainer(vars(parser.parse_args(argv))).run()


if __name__ == "__main__":
    main()
