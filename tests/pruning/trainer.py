"""A trainer of gratings, small enough to train, prune and train on in a second."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import TensorDataset

from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.config.settings import get
from basetrainer.engine.trainer import EngineTrainer
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.pruning.pipeline import prune_by_config
from basetrainer.utils.setup_config import create_workspace
from basetrainer.utils.torch_tools import load_pretrained_model
from tests.fixtures.pruning_nets import ResidualNet


def gratings(count: int, seed: int) -> TensorDataset:
    """Stripes of five directions, with noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 5
    angle = labels * torch.pi / 5
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    phase = torch.rand(count, 1, 1, generator=draw) * 2 * torch.pi
    waves = (angle.cos()[:, None, None] * x + angle.sin()[:, None, None] * y + phase).sin()
    noise = torch.randn(count, 3, 16, 16, generator=draw)
    return TensorDataset(waves[:, None] + 0.3 * noise, labels)


class GratingTrainer(EngineTrainer):
    """Has the two lines in ``build_model`` that pruning needs."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        create_workspace(cfg, ["net"], self.is_main_process, backup=False)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(gratings(120, 1), 20, 0)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(gratings(60, 2), 20, 0, phase="test", shuffle=False)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        torch.manual_seed(7)
        model: Any = ResidualNet()
        if get(cfg, "finetune"):
            load_pretrained_model(model, cfg["finetune"])
        if get(cfg, "use_prune"):
            model = prune_by_config(model, cfg)
        return self.build_model_parallel(model, self.config.gpu_id)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.nn.CrossEntropyLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> list[Any]:
        saver = ModelCheckpoint(
            self.model, self.optimizer, cfg["model_dir"], cfg["num_epochs"], indicator="Acc"
        )
        return [
            LossesRecorder(),
            AccuracyRecorder(),
            LogHistory(cfg["log_dir"], pictures=False),
            saver,
        ]


def settings(**others: Any) -> dict[str, Any]:
    """What a run of three epochs needs."""
    return {
        "work_dir": "work",
        "num_epochs": 3,
        "progress": False,
        "input_size": [16, 16],
        "use_prune": True,
        "sparsity": 0.5,
        "prune_backend": "torch_pruning",
        **others,
    }
