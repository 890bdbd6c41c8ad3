"""A small training with everything on, to be killed and started again.

    python -m scenarios.killable '{"num_workers": 2}'

Shuffling, random augmentation, MixUp in the collation, BatchNorm, dropout, bf16, accumulation, EMA,
warm-up and cosine, a callback with a state of its own. Settings come as JSON; the run is in
``work_dir``. At its end it writes ``final.json``: a hash of weights, average and optimizer.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate
from torchvision.transforms import v2

import basetrainer as bt
from basetrainer.checkpoint.tree import tensors_of
from basetrainer.engine.resume.state import collect
from scenarios.beacon import Beacon

SETTINGS: dict[str, Any] = {
    "work_dir": "run",
    "resume": "auto",
    "num_epochs": 4,
    "num_workers": 0,
    "num_samples": 90,
    "batch_size": 6,
    "accumulate_steps": 3,
    "amp": "bf16",
    "ema_decay": 0.9,
    "save_every_updates": 2,
    "log_freq": 4,
    "progress": False,
    "net": "small",
    "start_method": None,
    "beacon": None,
    "pictures": False,
}


class Images(Dataset[Any]):
    """Noise in four classes, changed at random each time."""

    def __init__(self, num_samples: int, size: int = 12) -> None:
        generator = torch.Generator().manual_seed(3)
        shape = (num_samples, 3, size, size)
        self.images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(4, (num_samples,), generator=generator)
        self.change = v2.Compose([v2.RandomCrop(size, padding=2), v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.change(self.images[index]).float() / 255
        return image + 0.01 * random.random(), self.labels[index]


def mixed(batch: Any) -> Any:
    """Mix each image of a batch with another one (MixUp)."""
    return v2.MixUp(num_classes=4)(*default_collate(batch))


class Diary(bt.Callback):
    """Counts samples: a callback with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.num_samples = 0
        self.in_epoch = 0
        self.sums: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.in_epoch = 0

    def on_train_summary(
        self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
    ) -> None:
        self.num_samples += len(inputs[0])
        self.in_epoch += len(inputs[0])
        self.sums.append(float(inputs[0].double().sum()))

    def state_dict(self) -> dict[str, Any]:
        return {
            "num_samples": self.num_samples,
            "in_epoch": self.in_epoch,
            "sums": list(self.sums),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_samples, self.in_epoch = state["num_samples"], state["in_epoch"]
        self.sums = list(state["sums"])


class KillableTrainer(bt.EngineTrainer):
    """Builds the training from the settings."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.diary = Diary()
        self.build(cfg)

    def _loader(self, cfg: Any, num_samples: int, phase: str) -> Any:
        options: dict[str, Any] = {"collate_fn": mixed} if phase == "train" else {}
        if cfg["num_workers"] and cfg["start_method"]:
            options["multiprocessing_context"] = cfg["start_method"]
        return self.build_dataloader(
            # Of smaller images torch's bf16 convolutions leave gradients uninitialised.
            Images(num_samples, 32 if cfg["net"] == "resnet18" else 12),
            cfg["batch_size"],
            cfg["num_workers"],
            shuffle=phase == "train",
            phase=phase,
            **options,
        )

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self._loader(cfg, cfg["num_samples"], "train")

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self._loader(cfg, 20, "test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        if cfg["net"] == "resnet18":
            return self.build_model_parallel(
                bt.get_models("resnet18", [32, 32], 4, pretrained=False)
            )
        layers = [
            nn.Conv2d(3, 8, 3, 2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
        ]
        return self.build_model_parallel(nn.Sequential(*layers, nn.Linear(200, 4)))

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return bt.get_optimizer(self.model, optim_type="AdamW", lr=0.01, weight_decay=0.01)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        folder = Path(cfg["work_dir"])
        scheduler = bt.get_scheduler(
            "cosine", self.optimizer, 0.01, cfg["num_epochs"], self.num_steps, num_warn_up=1
        )
        return [
            Beacon(Path(cfg["beacon"])) if cfg["beacon"] else None,
            bt.LossesRecorder(),
            Accuracy(),
            scheduler,
            self.diary,
            bt.LogHistory(
                folder / "log",
                cfg["log_freq"],
                indicators=["loss", "Accuracy"],
                pictures=cfg["pictures"],
            ),
            bt.ModelCheckpoint(
                self.model,
                self.optimizer,
                folder / "model",
                cfg["num_epochs"],
                indicator="Accuracy",
            ),
        ]


class Accuracy(bt.AccuracyRecorder):
    """Accuracy; of mixed labels that of the larger share."""

    def __init__(self) -> None:
        super().__init__(indicator="Accuracy")

    def on_train_summary(
        self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
    ) -> None:
        labels = inputs[1].argmax(1)
        super().on_train_summary((inputs[0], labels), outputs, losses, epoch, step, logs)


def digest(trainer: bt.EngineTrainer, logs: Any) -> str:
    """Return a hash of everything that a checkpoint would hold but the RNG."""
    tree = collect(trainer, logs)
    tree["ranks"] = [{"callbacks": rank["callbacks"]} for rank in tree["ranks"]]
    found = hashlib.sha256()
    for place, tensor in tensors_of(tree):
        found.update(place.encode())
        found.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def main(settings: dict[str, Any]) -> None:
    """Train, and write what came out."""
    torch.set_num_threads(1)
    cfg = {**SETTINGS, **settings}
    trainer = KillableTrainer(cfg)
    logs = trainer.run()
    final = {
        "hash": digest(trainer, logs),
        "logs": {phase: dict(logs[phase]) for phase in ("train", "test")},
        "num_samples": trainer.diary.num_samples,
        "sums": trainer.diary.sums,
    }
    Path(cfg["work_dir"], "final.json").write_text(json.dumps(final))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
