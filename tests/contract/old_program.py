"""A program as the users of the old package write them; it must run unchanged."""

import argparse
import os

import torch
from torch.utils.data import Dataset

import basetrainer
from basetrainer.callbacks import log_history, losses_recorder, model_checkpoint
from basetrainer.engine import trainer
from basetrainer.engine.launch import launch
from basetrainer.metric import accuracy_recorder
from basetrainer.optimizer.build_optimizer import get_optimizer
from basetrainer.scheduler import build_scheduler
from basetrainer.utils import file_utils, log, setup_config, torch_tools


class Points(Dataset):
    def __init__(self, num):
        generator = torch.Generator().manual_seed(num)
        self.data = torch.randn(num, 4, generator=generator)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        point = self.data[index]
        return point, int(point.argmax())


class ClassificationTrainer(trainer.EngineTrainer):
    def __init__(self, cfg):
        super(ClassificationTrainer, self).__init__(cfg)
        torch_tools.set_env_random_seed()
        time = file_utils.get_time()
        cfg.work_dir = os.path.join(cfg.work_dir, cfg.net_type + "_" + time)
        cfg.model_root = os.path.join(cfg.work_dir, "model")
        cfg.log_root = os.path.join(cfg.work_dir, "log")
        if self.is_main_process:
            file_utils.create_dir(cfg.work_dir)
            file_utils.create_dir(cfg.model_root)
            file_utils.create_dir(cfg.log_root)
            file_utils.copy_file_to_dir(cfg.config_file, cfg.work_dir)
            setup_config.save_config(cfg, os.path.join(cfg.work_dir, "setup_config.yaml"))
        self.logger = log.set_logger(
            level="debug",
            logfile=os.path.join(cfg.log_root, "train.log"),
            is_main_process=self.is_main_process,
        )
        self.build(cfg)
        self.logger.info("=" * 60)
        self.logger.info("work_dir          :{}".format(cfg.work_dir))
        self.logger.info("num_samples(train):{}".format(self.num_samples))
        self.logger.info("num_steps         :{}".format(self.num_steps))
        self.logger.info("device            :{}".format(self.device))

    def build_train_loader(self, cfg, **kwargs):
        dataset = Points(60)
        cfg.num_classes = 4
        cfg.classes = ["a", "b", "c", "d"]
        return self.build_dataloader(
            dataset,
            cfg.batch_size,
            cfg.num_workers,
            phase="train",
            shuffle=True,
            pin_memory=False,
            drop_last=True,
            distributed=cfg.distributed,
        )

    def build_test_loader(self, cfg, **kwargs):
        return self.build_dataloader(
            Points(30),
            cfg.batch_size,
            cfg.num_workers,
            phase="test",
            shuffle=False,
            pin_memory=False,
            drop_last=False,
            distributed=False,
        )

    def build_model(self, cfg, **kwargs):
        model = torch.nn.Linear(4, cfg.num_classes)
        if cfg.finetune:
            model.load_state_dict(torch_tools.load_state_dict(cfg.finetune))
        return self.build_model_parallel(model, cfg.gpu_id, distributed=cfg.distributed)

    def build_optimizer(self, cfg, **kwargs):
        return get_optimizer(
            self.model,
            optim_type=cfg.optim_type,
            lr=cfg.lr,
            momentum=cfg.momentum,
            weight_decay=cfg.weight_decay,
        )

    def build_criterion(self, cfg, **kwargs):
        return torch.nn.CrossEntropyLoss()

    def build_callbacks(self, cfg, **kwargs):
        acc_record = accuracy_recorder.AccuracyRecorder(
            target_names=cfg.classes, indicator="Accuracy"
        )
        loss_record = losses_recorder.LossesRecorder(indicator="loss")
        history = log_history.LogHistory(
            log_dir=cfg.log_root,
            log_freq=cfg.log_freq,
            logger=self.logger,
            indicators=["loss", "Accuracy"],
            is_main_process=self.is_main_process,
        )
        checkpointer = model_checkpoint.ModelCheckpoint(
            model=self.model,
            optimizer=self.optimizer,
            moder_dir=cfg.model_root,
            epochs=cfg.num_epochs,
            start_save=-1,
            indicator="Accuracy",
            logger=self.logger,
        )
        lr_scheduler = build_scheduler.get_scheduler(
            cfg.scheduler,
            optimizer=self.optimizer,
            lr_init=cfg.lr,
            num_epochs=cfg.num_epochs,
            num_steps=self.num_steps,
            milestones=cfg.milestones,
            num_warn_up=cfg.num_warn_up,
        )
        return [acc_record, loss_record, lr_scheduler, history, checkpointer]

    def run(self, logs: dict = {}):
        self.logger.info("start train")
        super().run(logs)


def main(cfg):
    t = ClassificationTrainer(cfg)
    assert hasattr(t.model, "module")
    return t.run()


def get_parser():
    parser = argparse.ArgumentParser(description="Training Pipeline")
    parser.add_argument("-c", "--config_file", help="configs file", default="", type=str)
    parser.add_argument("--batch_size", default=8, type=int)
    parser.add_argument("--num_epochs", default=50, type=int)
    parser.add_argument("--distributed", action="store_true")
    return parser


if __name__ == "__main__":
    print("basetrainer", basetrainer.__version__)
    parser = get_parser()
    args = parser.parse_args()
    cfg = setup_config.parser_config(args, cfg_updata=True)
    launch(
        main,
        num_gpus_per_machine=len(cfg.gpu_id),
        dist_url="tcp://127.0.0.1:28661",
        num_machines=1,
        machine_rank=0,
        distributed=cfg.distributed,
        args=(cfg,),
    )
