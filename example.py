"""Train an image classifier: the program to copy and change.

    python example.py                                          # handwritten digits
    python example.py --config_file configs/config.yaml        # settings from a file
    python example.py --config_file configs/config.yaml --gpu_id 0 1 --distributed
    python example.py --train_data my/train --test_data my/test --input_size 224 224

Flags typed on the command line win over the file, the file wins over the defaults below.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.criterion.criterion import get_criterion
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.digits import write_digits
from basetrainer.datasets.transforms import get_transforms
from basetrainer.engine.launch import launch
from basetrainer.engine.trainer import EngineTrainer
from basetrainer.errors import ConfigError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.models.build_models import get_models
from basetrainer.optimizer.build_optimizer import get_optimizer
from basetrainer.scheduler.build_scheduler import get_scheduler
from basetrainer.utils import log, setup_config, torch_tools

DIGITS = Path("data/digits")


class ClassificationTrainer(EngineTrainer):
    """Six ``build_*`` methods: the loop, the hooks and the files of a run come with the base."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        if cfg.use_prune:
            raise ConfigError("use_prune: this version cannot prune yet. Set it to False.")
        setup_config.create_workspace(cfg, [cfg.net_type], self.is_main_process)
        self.logger = log.set_logger(
            level="info",
            logfile=f"{cfg.log_dir}/train.log",
            is_main_process=self.is_main_process,
        )
        self.build(cfg)
        self.logger.info("run        : %s", cfg.work_dir)
        self.logger.info("samples    : %d train, %d test", self.train_num, self.test_num)
        self.logger.info("device     : %d x %s", self.world_size, self.device)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> DataLoader[Any]:
        transform = get_transforms(cfg.train_transform, cfg.input_size, train=True)
        self.train_data = open_dataset(cfg.train_data, transform)
        cfg.class_name = self.train_data.class_names
        return self._loader(cfg, self.train_data, phase="train")

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> DataLoader[Any] | None:
        if not cfg.test_data:
            return None
        transform = get_transforms(cfg.test_transform, cfg.input_size, train=False)
        dataset = open_dataset(cfg.test_data, transform, like=self.train_data)
        return self._loader(cfg, dataset, phase="test")

    def _loader(self, cfg: Any, dataset: Any, phase: str) -> DataLoader[Any]:
        return self.build_dataloader(
            dataset, cfg.batch_size, cfg.num_workers, shuffle=phase == "train", phase=phase
        )

    def build_model(self, cfg: Any, **kwargs: Any) -> nn.Module:
        model = get_models(
            cfg.net_type,
            cfg.input_size,
            num_classes=len(cfg.class_name),
            width_mult=cfg.width_mult,
            pretrained=cfg.pretrained,
        )
        if cfg.finetune:
            torch_tools.load_pretrained_model(model, cfg.finetune)
        return self.build_model_parallel(model, cfg.gpu_id, distributed=cfg.distributed)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Optimizer:
        return get_optimizer(
            self.model,
            optim_type=cfg.optim_type,
            lr=cfg.lr,
            momentum=cfg.momentum,
            weight_decay=cfg.weight_decay,
        )

    def build_criterion(self, cfg: Any, **kwargs: Any) -> nn.Module:
        return get_criterion(cfg.loss_type, len(cfg.class_name), device=self.device)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> list[Callback]:
        return [
            LossesRecorder(),
            AccuracyRecorder(cfg.class_name, "Accuracy", f"{cfg.work_dir}/confusion_matrix"),
            get_scheduler(
                cfg.scheduler,
                self.optimizer,
                lr_init=cfg.lr,
                num_epochs=cfg.num_epochs,
                num_steps=self.num_steps,
                milestones=cfg.milestones,
                num_warn_up=cfg.num_warn_up,
            ),
            LogHistory(cfg.log_dir, cfg.log_freq, self.logger, ["loss", "Accuracy"]),
            ModelCheckpoint(
                self.model,
                self.optimizer,
                model_dir=cfg.model_dir,
                epochs=cfg.num_epochs,
                model_nums=1,
                indicator="Accuracy",
                logger=self.logger,
            ),
        ]


def get_parser() -> argparse.ArgumentParser:
    """Return the flags; every other key of the configuration may stand in the file."""
    parser = argparse.ArgumentParser(description="Train an image classifier.")
    parser.add_argument("-c", "--config_file", default="", help="a YAML file of settings")
    parser.add_argument("--train_data", nargs="+", default=[str(DIGITS / "train")])
    parser.add_argument("--test_data", nargs="*", default=[str(DIGITS / "test")])
    parser.add_argument("--work_dir", default="work_space", help="where runs go")
    parser.add_argument("--net_type", default="resnet18")
    parser.add_argument("--width_mult", type=float, default=1.0)
    parser.add_argument("--pretrained", type=bool, default=False)
    parser.add_argument("--finetune", default=None, help="a file of weights to start from")
    parser.add_argument("--input_size", type=int, nargs=2, default=[32, 32], metavar=("W", "H"))
    parser.add_argument("--train_transform", default=None)
    parser.add_argument("--test_transform", default=None)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument("--num_epochs", type=int, default=10)
    parser.add_argument("--optim_type", default="SGD")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight_decay", type=float, default=5e-4)
    parser.add_argument("--scheduler", default="cosine")
    parser.add_argument("--milestones", type=int, nargs="*", default=[])
    parser.add_argument("--num_warn_up", type=int, default=1)
    parser.add_argument("--loss_type", default="CELoss")
    parser.add_argument("--gpu_id", type=int, nargs="+", default=[0])
    parser.add_argument("--log_freq", type=int, default=20)
    parser.add_argument("--progress", action="store_true", default=True)
    parser.add_argument("--distributed", action="store_true")
    parser.add_argument("--use_prune", action="store_true")
    return parser


def main(cfg: Any) -> Any:
    return ClassificationTrainer(cfg).run()


if __name__ == "__main__":
    log.set_logger(level="info")
    cfg = setup_config.parser_config(get_parser())
    if str(DIGITS / "train") in cfg.train_data:
        write_digits(DIGITS)
    launch(main, len(cfg.gpu_id), distributed=cfg.distributed, args=(cfg,))
