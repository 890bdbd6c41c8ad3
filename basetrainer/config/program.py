"""ProgramKeys: the keys that existing programs, builders and commands read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from basetrainer.config import checks as c
from basetrainer.config.keys import declares_keys, key

_OPTIM = c.arguments("model", "optim_type", "lr")
_LOSS = c.arguments("loss_type", "num_classes")
_NET = c.arguments("net_type", "input_size", "num_classes", "width_mult")
_SCHEDULE = c.arguments("scheduler", "optimizer", "lr_init", "num_epochs", "num_steps")
_TEXT_OR_NOT = c.as_text_or_switch


@declares_keys
@dataclass(frozen=True, kw_only=True)
class ProgramKeys:
    """Keys without a default of ours: a program reads those it needs, and says what they mean."""

    train_data: Any = key(None, c.as_data, "What to train on.", "data/train", decides="warn")
    test_data: Any = key(None, c.as_data, "What to evaluate on.", "data/test", decides="warn")
    class_name: Any = key(None, c.as_names, "Classes, or the file that lists them.", "[cat, dog]")
    train_transform: Any = key(None, c.ANYTHING, "How training images change.", "train")
    test_transform: Any = key(None, c.ANYTHING, "How test images are prepared.", "val")
    data_root: Any = key(None, c.TEXT, "Where paths in lists start.", "data", decides="warn")
    on_broken: Any = key(None, c.choice("raise", "skip"), "What a broken image does.", "skip")
    cache: Any = key(None, c.as_cache, "Where decoded images are kept.", "disk")
    cache_dir: Any = key(None, c.TEXT, "Folder of kept images.", "work_space/cache", decides=False)
    cache_size: Any = key(None, c.FROM_ZERO, "Shorter side of kept images, in pixels.", "256")
    resample: Any = key(None, c.ANYTHING, "How much rare classes are repeated.", "mean")
    work_dir: Any = key(None, c.TEXT, "Folder of what a run leaves.", "work_space", decides=False)
    net_type: Any = key(None, c.TEXT, "Network.", "mobilenet_v2")
    width_mult: Any = key(None, c.POSITIVE, "Factor of the network's channels.", "1.0")
    input_size: Any = key(None, c.as_size, "Size of the images, in pixels.", "[224, 224]")
    rgb_mean: Any = key(None, c.CHANNELS, "Subtracted from each channel.", "[0.5, 0.5, 0.5]")
    rgb_std: Any = key(None, c.DEVIATIONS, "Divides each channel.", "[0.5, 0.5, 0.5]")
    batch_size: Any = key(None, c.COUNT, "Samples per process and step.", "32", decides=False)
    test_batch_size: Any = key(None, c.COUNT, "Samples of a test batch.", "256", decides=False)
    lr: Any = key(None, c.POSITIVE, "Learning rate after warm-up.", "0.01")
    optim_type: Any = key(None, c.TEXT, "Optimizer.", "SGD")
    loss_type: Any = key(None, c.as_names, "Loss, several, or a weight for each.", "CELoss")
    optim_args: Any = key(None, _OPTIM, "More for the optimizer.", "{betas: [0.9, 0.95]}")
    loss_args: Any = key(None, _LOSS, "More for the loss.", "{label_smoothing: 0.1}")
    net_args: Any = key(None, _NET, "More for the network.", "{dropout: 0.2}")
    scheduler_args: Any = key(None, _SCHEDULE, "More for the schedule.", "{lr_min: 0.001}")
    momentum: Any = key(None, c.MOMENTUM, "Momentum of SGD.", "0.9")
    num_warn_up: Any = key(None, c.as_epochs, "Epochs in which the learning rate rises.", "3")
    num_workers: Any = key(None, c.as_workers, "Loaders per process.", "auto", decides=False)
    weight_decay: Any = key(None, c.NOT_NEGATIVE, "Weight decay.", "0.0005")
    scheduler: Any = key(None, c.TEXT, "Schedule of the learning rate.", "cosine")
    milestones: Any = key(None, c.as_milestones, "Epochs when lr falls.", "[20, 35]")
    pretrained: Any = key(None, c.as_weights, "Weights to start from.", "true", decides="warn")
    distributed: Any = key(None, c.SWITCH, "One process per device.", "true", decides="warn")
    freeze: Any = key(None, c.as_texts, "What is not trained.", "[conv1, 'layer[12]']")
    small_input: Any = key(None, c.SWITCH, "Whether images are of about 32 pixels.", "true")
    use_prune: Any = key(None, c.SWITCH, "Whether to prune the network.", "false")
    finetune: Any = key(None, _TEXT_OR_NOT, "Weights to start from.", "best.pth", decides="warn")
    flag: Any = key(None, c.as_flag, "Part of the name of the run's folder.", "a", decides=False)
    config_file: Any = key(None, c.TEXT, "The YAML file.", "configs/config.yaml", decides=False)
    num_classes: Any = key(None, c.COUNT, "Classes, if not counted.", "10")
    classes: Any = key(None, c.ANYTHING, "Classes, as a program counted them.")
    start_save: Any = key(None, c.ANYTHING, "The first epoch whose weights stay.", decides=False)
    model_root: Any = key(None, c.ANYTHING, "Folder of the weights.", decides=False)
    log_root: Any = key(None, c.ANYTHING, "Folder of the logs.", decides=False)
    model_dir: Any = key(None, c.ANYTHING, "Folder of the weights.", decides=False)
    log_dir: Any = key(None, c.ANYTHING, "Folder of the logs.", decides=False)
    local_rank: Any = key(None, c.ANYTHING, "Rank of the process on its host.", decides=False)
