"""A small trainer that the other examples share: ten classes of 8x8 digits."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import basetrainer as bt


class DigitTrainer(bt.EngineTrainer):
    """Reads ``lr``, ``width``, ``batch_size`` and ``num_workers``; takes more callbacks."""

    def __init__(self, cfg: Any, callbacks: tuple[bt.Callback, ...] = ()) -> None:
        super().__init__(cfg)
        self.more = callbacks
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
        self.data = TensorDataset(images.float() / 16, labels)
        train = TensorDataset(*self.data[360:])
        return self.build_dataloader(train, cfg.get("batch_size", 32), cfg.get("num_workers", 0))

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        test = TensorDataset(*self.data[:360])
        workers = cfg.get("num_workers", 0)
        return self.build_dataloader(test, 360, workers, phase="test", shuffle=False)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        width = cfg.get("width", 64)
        net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        return self.build_model_parallel(net)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=cfg.get("lr", 0.1), momentum=0.9)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), *self.more]
