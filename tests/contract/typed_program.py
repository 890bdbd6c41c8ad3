"""A program as a user with strict type checkers writes it; both accept it, and it runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import TensorDataset

import basetrainer as bt
from basetrainer.config.settings import Config
from basetrainer.scheduler.scheduler import LRScheduler

Batch = tuple[Tensor, Tensor]


class Largest(bt.Callback):
    """Keeps the largest loss of the epoch, and saves it with the run."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.largest = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            self.largest = max(self.largest, float(logs["train"]["loss"]))

    def state_dict(self) -> dict[str, Any]:
        return {"largest": self.largest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.largest = float(state["largest"])


class Trainer(bt.EngineTrainer):
    """Every ``build_*`` with the type that it returns."""

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Config, **kwargs: Any) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(24, 4, generator=generator)
        data = TensorDataset(features, (features[:, 0] > 0).long())
        return self.build_dataloader(data, int(cfg.batch_size), num_workers=0)

    def build_test_loader(self, cfg: Config, **kwargs: Any) -> Iterable[Batch]:
        return self.build_train_loader(cfg)

    def build_model(self, cfg: Config, **kwargs: Any) -> nn.Module:
        return self.build_model_parallel(nn.Linear(4, 2))

    def build_criterion(self, cfg: Config, **kwargs: Any) -> nn.Module:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Config, **kwargs: Any) -> Optimizer:
        return bt.get_optimizer(self.model, optim_type="SGD", lr=float(cfg.lr))

    def build_callbacks(self, cfg: Config, **kwargs: Any) -> list[bt.Callback]:
        schedule: LRScheduler = bt.get_scheduler(
            "cosine",
            optimizer=self.optimizer,
            lr_init=float(cfg.lr),
            num_epochs=int(cfg.num_epochs),
            num_steps=self.num_steps,
        )
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), schedule, Largest()]

    def run_step(self, inputs: Batch) -> tuple[Tensor, Tensor]:
        features, labels = inputs
        outputs: Tensor = self.model(features)
        loss: Tensor = self.criterion(outputs, labels)
        return outputs, loss


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--num_epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=8)
    return parser


def main(cfg: Config) -> dict[str, Any]:
    logs: dict[str, Any] = Trainer(cfg).run()
    return logs


if __name__ == "__main__":
    settings: Config = bt.parser_config(get_parser())
    print(bt.launch(main, 1, args=(settings,))["test"])  # noqa: T201
