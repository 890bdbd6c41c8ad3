"""Train an image classifier: the program to copy and change.

    python example.py                                          # handwritten digits
    python example.py --config_file my.yaml --num_epochs 30
    python example.py --gpu_id 0 1 --distributed               # one process for each id
    python example.py --train_data my/train --test_data my/test --input_size 224 224
    python example.py --use_prune --sparsity 0.5               # train, prune, train on
    python example.py --dry_run                                # try it all in seconds; or --explain

Flags typed on the command line win over the file, the file wins over configs/config.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import nn

import basetrainer as bt

if bt.__version__.startswith("1."):  # the package index has it under the same name
    raise SystemExit(f"{bt.__file__} is the old basetrainer. Install this one: bash setup.sh")

from basetrainer.data.disk_cache import cache_images
from basetrainer.datasets.balance import resample_weights
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.digits import write_digits
from basetrainer.datasets.mixing import get_collate
from basetrainer.datasets.transforms import get_transforms
from basetrainer.models.freeze import freeze
from basetrainer.models.summary import model_summary
from basetrainer.pruning.pipeline import prune_and_train, prune_by_config
from basetrainer.utils import log, setup_config, torch_tools

DIGITS = "data/digits"


class ClassificationTrainer(bt.EngineTrainer):
    """Six ``build_*`` methods: the loop, the hooks and the files of a run come with the base."""

    normalize: Any  # of whole batches, on the device

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        setup_config.create_workspace(cfg, [cfg.net_type], self.is_main_process)
        logfile = f"{cfg.log_dir}/train.log"
        self.logger = log.set_logger(None, "info", logfile, is_main_process=self.is_main_process)
        self.build(cfg)
        self.logger.info("run     : %s", cfg.work_dir)
        self.logger.info("model   : %s", model_summary(self.model, cfg.input_size).totals())
        self.logger.info("samples : %d train, %d test", self.train_num, self.test_num)
        self.logger.info("device  : %d x %s", self.world_size, self.device)

    def open_data(self, cfg: Any, phase: str, paths: Any, **more: Any) -> Any:
        pixels = {"mean": cfg.rgb_mean, "std": cfg.rgb_std, "train": phase == "train"}
        with setup_config.blaming(cfg, f"{phase}_transform"):
            steps = get_transforms(cfg[f"{phase}_transform"], cfg.input_size, **pixels)
        transform, self.normalize = steps.split()  # images stay uint8 until to_device()
        more |= {"root": cfg.data_root, "on_broken": cfg.on_broken}
        with setup_config.blaming(cfg, "class_name" if cfg.class_name == [] else f"{phase}_data"):
            data = open_dataset(paths, transform, **more)
        return cache_images(data, cfg.cache, cfg.cache_dir, size=cfg.cache_size)

    def to_device(self, inputs: Any) -> Any:
        images, labels = super().to_device(inputs)
        return self.normalize(images), labels

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = self.open_data(cfg, "train", cfg.train_data, class_names=cfg.class_name)
        self.train_data, cfg.class_name = data, data.class_names
        with setup_config.blaming(cfg, "resample"):
            weights = resample_weights(data.targets, cfg.resample)
        mix = get_collate(cfg.train_transform, data.num_classes)  # for MixUp and CutMix
        # drop_last: BatchNorm learns nothing good from a last batch of one or two images.
        return self.build_dataloader(
            data, cfg.batch_size, cfg.num_workers, drop_last=True, weights=weights, collate_fn=mix
        )

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        if isinstance(cfg.test_data, dict):  # several sets by name, scored apart
            return {name: self.open_tests(cfg, paths) for name, paths in cfg.test_data.items()}
        return self.open_tests(cfg, cfg.test_data) if cfg.test_data else None

    def open_tests(self, cfg: Any, paths: Any) -> Any:
        data = self.open_data(cfg, "test", paths, like=self.train_data)
        size = cfg.test_batch_size or cfg.batch_size
        return self.build_dataloader(data, size, cfg.num_workers, False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> nn.Module:
        more = {"pretrained": cfg.pretrained, "small_input": cfg.small_input, **cfg.net_args}
        size, num_classes = cfg.input_size, len(cfg.class_name)
        with setup_config.blaming(cfg, "net_args", "pretrained", "net_type"):
            model = bt.get_models(cfg.net_type, size, num_classes, cfg.width_mult, **more)
        if cfg.finetune:
            with setup_config.blaming(cfg, "finetune"):
                torch_tools.load_pretrained_model(model, cfg.finetune)
        model = prune_by_config(model, cfg) if cfg.use_prune else model
        if cfg.freeze:
            freeze(model, cfg.freeze)
        return self.build_model_parallel(model, cfg.gpu_id, distributed=cfg.distributed)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        more = {"momentum": cfg.momentum, "weight_decay": cfg.weight_decay, **cfg.optim_args}
        with setup_config.blaming(cfg, "optim_args", "optim_type"):
            return bt.get_optimizer(self.model, optim_type=cfg.optim_type, lr=cfg.lr, **more)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> nn.Module:
        with setup_config.blaming(cfg, "loss_args", "loss_type"):
            return bt.get_criterion(cfg.loss_type, len(cfg.class_name), **cfg.loss_args)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> list[bt.Callback]:
        more = {"milestones": cfg.milestones, "num_warn_up": cfg.num_warn_up, **cfg.scheduler_args}
        scheduler = bt.get_scheduler(
            cfg.scheduler, self.optimizer, cfg.lr, cfg.num_epochs, self.num_steps, **more
        )
        saving = {"epochs": cfg.num_epochs, "model_nums": 1, "indicator": "Accuracy"}
        return [
            bt.LossesRecorder(),
            bt.AccuracyRecorder(cfg.class_name, "Accuracy", f"{cfg.work_dir}/confusion_matrix"),
            scheduler,
            bt.LogHistory(cfg.log_dir, cfg.log_freq, self.logger, ["loss", "Accuracy"]),
            bt.ModelCheckpoint(self.model, self.optimizer, cfg.model_dir, **saving),
        ]


def get_parser() -> argparse.ArgumentParser:
    """Return the flags; every key of the configuration may also stand in a file."""
    parser = argparse.ArgumentParser(description="Train an image classifier.")
    parser.add_argument("-c", "--config_file", default="", help="a YAML file of settings")
    parser.add_argument("--train_data", nargs="+", help="folders of class folders, or lists")
    parser.add_argument("--test_data", nargs="*", help="likewise")
    parser.add_argument("--input_size", type=int, nargs=2, metavar=("W", "H"))
    parser.add_argument("--gpu_id", type=int, nargs="+")
    parser.add_argument("--milestones", type=int, nargs="*")
    texts = ("work_dir", "resume", "finetune", "net_type", "prune_mod", "optim_type", "loss_type")
    for name in (*texts, "scheduler", "num_workers", "cache", "amp"):
        parser.add_argument(f"--{name}")
    for name in ("num_epochs", "batch_size", "log_freq", "seed"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("lr", "momentum", "weight_decay", "num_warn_up", "sparsity"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("distributed", "pretrained", "use_prune", "dry_run", "explain"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.set_defaults(**setup_config.load_config(Path(__file__).parent / "configs/config.yaml"))
    return parser


def main(cfg: Any) -> Any:
    """Train; this is what each process runs."""
    if cfg.train_data in (f"{DIGITS}/train", [f"{DIGITS}/train"]):
        write_digits(DIGITS)
    if cfg.dry_run:
        return bt.dry_run(ClassificationTrainer, cfg).checked()
    if cfg.explain:
        return bt.explain_run(ClassificationTrainer, cfg)
    if cfg.use_prune:
        return prune_and_train(ClassificationTrainer, cfg)
    return ClassificationTrainer(cfg).run()


def start() -> Any:
    """Read the command line, and run ``main`` in one process per device."""
    log.set_logger(level="info")
    cfg = setup_config.parser_config(get_parser())
    return bt.launch(main, len(cfg.gpu_id), distributed=cfg.distributed, args=(cfg,))


if __name__ == "__main__":
    start()
