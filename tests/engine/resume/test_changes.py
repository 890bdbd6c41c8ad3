"""What a resume notices, and what it must not take for a change."""

from __future__ import annotations

import datetime
import json
import logging
import random
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.early_stop import EarlyStop
from basetrainer.checkpoint.manifest import Manifest
from basetrainer.checkpoint.run_folder import MANIFEST, checkpoint_paths
from basetrainer.config.keys import decides_run, is_told
from basetrainer.errors import ConfigError
from basetrainer.scheduler.build_scheduler import get_scheduler
from tests.tiny import TinyTrainer, tiny_data

CFG: dict[str, Any] = {"num_epochs": 1, "progress": False, "resume": "auto", "work_dir": "run"}


class Trainer(TinyTrainer):
    """Keyword arguments make the parts: functions without arguments, or of the trainer."""

    def __init__(self, cfg: Any = None, **parts: Any) -> None:
        super().__init__({**CFG, **(cfg or {})}, (), **parts)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        make = self.parts.get("optimizer", lambda p: torch.optim.SGD(p, lr=0.1))
        return make(self.model.parameters())

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return self.parts.get("hears", lambda trainer: [])(self)


def refused(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return what a resume of two epochs says, with the parts of ``after``."""
    Trainer(before.pop("cfg", None), **before).run()
    trainer = Trainer({"num_epochs": 2, **after.pop("cfg", {})}, **after)
    with pytest.raises(ConfigError) as caught:
        trainer.run()
    assert "resume: never" in str(caught.value)
    return str(caught.value)


class Data(Dataset[Any]):
    """Twelve samples with public attributes."""

    def __init__(self, **public: Any) -> None:
        self.__dict__.update(public)
        self.data = tiny_data()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> Any:
        return self.data[place]


def scaled(factor: float) -> Any:
    return lambda image: image * factor


def files(*names: str, root: str = "/data/a") -> list[tuple[str, int]]:
    return [(f"{root}/{name}.jpg", number) for number, name in enumerate(names * 40)]


class Focal(nn.CrossEntropyLoss):
    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma


def net(p: float) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.Dropout(p))


SGD, Adam = torch.optim.SGD, torch.optim.Adam
DECIDING: dict[str, tuple[Any, Any, str]] = {
    "own key": ({"cfg": {"base_lr": 1}}, {"cfg": {"base_lr": 2}}, "base_lr: 1 then, 2 now"),
    "new key": ({}, {"cfg": {"loss_weight": 2}}, "loss_weight: None then, 2 now"),
    "nested key": (
        {"cfg": {"anchors": {"p3": [1, 2]}}},
        {"cfg": {"anchors": {"p3": [1, 3]}}},
        "anchors.p3: [1, 2] then, [1, 3] now",
    ),
    "array in cfg": (
        {"cfg": {"anchors": np.arange(3)}},
        {"cfg": {"anchors": np.arange(1, 4)}},
        "anchors: ",
    ),
    "function in cfg": (
        {"cfg": {"act": partial(scaled, 1)}},
        {"cfg": {"act": partial(scaled, 2)}},
        "act.partial[1]: [1] then, [2] now",
    ),
    "classes": (
        {"cfg": {"class_name": ["ant", "bee", "cow"]}},
        {"cfg": {"class_name": ["bee", "cow", "ant"]}},
        "class_name: ['ant', 'bee', 'cow'] then, ['bee', 'cow', 'ant'] now",
    ),
    "lr": ({}, {"optimizer": partial(SGD, lr=0.01)}, "optimizer.groups[0].lr: 0.1 then, 0.01 now"),
    "optimizer": (
        {"optimizer": partial(Adam, lr=0.1)},
        {"optimizer": partial(torch.optim.AdamW, lr=0.1)},
        "optimizer: 'torch.Adam' then, 'torch.AdamW' now",
    ),
    "betas": (
        {"optimizer": partial(Adam, lr=0.1)},
        {"optimizer": partial(Adam, lr=0.1, betas=(0.8, 0.99))},
        "betas: [0.9, 0.999] then, [0.8, 0.99] now",
    ),
    "groups": (
        {},
        {"optimizer": lambda p: SGD([{"params": [one]} for one in p], lr=0.1)},
        "optimizer.groups: ",
    ),
    "criterion": ({}, {"criterion": nn.MultiMarginLoss()}, "'torch.CrossEntropyLoss' then"),
    "criterion's option": (
        {"criterion": Focal(1.0)},
        {"criterion": Focal(2.0)},
        "criterion.gamma: 1.0 then, 2.0 now",
    ),
    "class weights": (
        {"criterion": nn.CrossEntropyLoss(torch.ones(3))},
        {"criterion": nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 1.0]))},
        "criterion.weight: ",
    ),
    "dropout": ({"model": net(0.1)}, {"model": net(0.5)}, "model.1.make: "),
    "labels": (
        {"data": TensorDataset(tiny_data().tensors[0], torch.arange(12) % 3)},
        {"data": TensorDataset(tiny_data().tensors[0], torch.arange(1, 13) % 3)},
        "train data.tensors: ",
    ),
    "file list": (
        {"data": Data(samples=files("a", "b"))},
        {"data": Data(samples=files("a", "c"))},
        "train data.samples: '80 values",
    ),
    "class order of the data": (
        {"data": Data(class_to_idx={"a": 0, "b": 1})},
        {"data": Data(class_to_idx={"a": 1, "b": 0})},
        "train data.class_to_idx.a: 0 then, 1 now",
    ),
    "transform": (
        {"data": Data(transform=v2.Compose([v2.RandomCrop(8), v2.RandomHorizontalFlip(0.5)]))},
        {"data": Data(transform=v2.Compose([v2.RandomCrop(8), v2.RandomHorizontalFlip(0.1)]))},
        "train data.transform.transforms[1].p: 0.5 then, 0.1 now",
    ),
    "closure": (
        {"data": Data(transform=scaled(1.0))},
        {"data": Data(transform=scaled(2.0))},
        "train data.transform.closure.factor: 1.0 then, 2.0 now",
    ),
    "collate": (
        {},
        {"loader": {"collate_fn": lambda batch: torch.utils.data.default_collate(batch)}},
        "train data.collate_fn",
    ),
}


@pytest.mark.parametrize("name", DECIDING)
def test_what_decides_the_run_is_refused_and_named(name):
    before, after, message = DECIDING[name]
    assert message in refused(dict(before), dict(after))


def test_all_differences_are_named_at_once():
    before = {"cfg": {"base_lr": 1, "gamma": 2}}
    after = {"cfg": {"base_lr": 2, "gamma": 3}, "optimizer": partial(Adam, lr=0.1)}
    message = refused(before, after)
    for name in ("base_lr: 1 then, 2 now", "gamma: 2 then, 3 now", "'torch.SGD' then"):
        assert name in message


def _poly(trainer: Any, **options: Any) -> Any:
    epochs = trainer.num_epochs
    return [get_scheduler("poly", trainer.optimizer, 0.1, epochs, trainer.num_steps, **options)]


class Steps(Callback):
    def __init__(self, trainer: Any, gamma: float) -> None:
        super().__init__()
        self.steps = torch.optim.lr_scheduler.StepLR(trainer.optimizer, 1, gamma)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (partial(_poly, num_warn_up=0), partial(_poly, num_warn_up=0.5), "num_warn_up: 0"),
        (
            lambda trainer: [Steps(trainer, 0.5)],
            lambda trainer: [Steps(trainer, 0.1)],
            "schedulers.Steps.steps.gamma: 0.5 then, 0.1 now",
        ),
    ],
)
def test_the_options_of_a_scheduler_are_compared(before, after, message):
    assert message in refused({"hears": before}, {"hears": after})


def test_another_length_is_told_with_the_learning_rates(caplog):
    Trainer({"num_epochs": 2}, hears=_poly).run()
    Trainer({"num_epochs": 4}, hears=_poly).run()
    assert (
        "resume: changed: num_epochs: 2 then, 4 now; the learning rate at epoch 2, batch 0: "
    ) in caplog.text
    assert "before, 0.0535887 from here on" in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"cfg": {"strategy": "auto"}}, {"cfg": {"strategy": "single"}}, "strategy: 'auto' then"),
        ({"cfg": {"train_data": "a"}}, {"cfg": {"train_data": "b"}}, "train_data: 'a' then"),
        ({"cfg": {"anchor_file": "a"}}, {"cfg": {"anchor_file": "b"}}, "anchor_file: 'a' then"),
        (
            {"hears": lambda trainer: [EarlyStop(9, "loss", "min")]},
            {"hears": lambda trainer: [EarlyStop(9, "Acc", "max")]},
            "monitored metrics.EarlyStop: 'loss (min)' then, 'Acc (max)' now",
        ),
    ],
)
def test_what_does_not_decide_is_told(before, after, message, caplog):
    Trainer(before.pop("cfg", None), **before).run()
    Trainer({"num_epochs": 2, **after.pop("cfg", {})}, **after).run()
    assert f"resume: changed: {message}" in caplog.text


def test_with_a_path_another_kind_of_optimizer_begins_anew_and_is_told(caplog):
    Trainer().run()
    cfg = {"num_epochs": 2, "work_dir": "other", "resume": "run"}
    trainer = Trainer(cfg, optimizer=partial(Adam, lr=0.1))
    trainer.run()
    assert "resume: changed: optimizer: 'torch.SGD' then, 'torch.Adam' now" in caplog.text
    assert "begins without the state of then" in caplog.text
    assert trainer.position.epoch == 2


def test_with_a_path_other_groups_take_each_parameters_state_along():
    Trainer(optimizer=partial(SGD, lr=0.1, momentum=0.9)).run()
    saved = torch.load(checkpoint_paths(Path("run/checkpoints"))[0] / "state.pt")
    cfg = {"num_epochs": 1, "work_dir": "other", "resume": "run"}

    def swapped(parameters: Any) -> Any:
        weight, bias = parameters
        return SGD([{"params": [bias]}, {"params": [weight]}], lr=0.01, momentum=0.9)

    trainer = Trainer(cfg, optimizer=swapped)
    trainer.run()
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.01, 0.01]
    weight = trainer.model.weight
    expected = saved["optimizer"]["state"][0]["momentum_buffer"]
    assert torch.equal(trainer.optimizer.state[weight]["momentum_buffer"], expected)


class Odd:
    """An object with all that differs from start to start."""

    def __init__(self) -> None:
        self.names = {"b", "a", str(uuid.UUID(int=1))}
        self.start_time = time.time()
        self.cache = {random.random(): 1}
        self.draws = np.random.default_rng()
        self.logger = logging.getLogger(str(time.time()))
        self.begun = datetime.datetime.now()
        self.myself = self


def odd_cfg() -> dict[str, Any]:
    now = datetime.datetime.now()
    return {
        "head": Odd(),
        "act": lambda x: x + 1,
        "kind": Odd,
        "stamp": now,
        "started": time.time() + random.random(),
        "label": f"run_{now:%Y%m%d_%H%M%S}",
        "key_of_run": str(uuid.uuid4()),
        "scratch": tempfile.mkdtemp(),
        "tags": ["x"],
        "flags": {"b", "a"},
        "rates": np.float64(0.5),
        "where": Path("somewhere"),
        "missing": None,
        "number": float("nan"),
    }


def test_the_same_program_is_not_told_of_a_change(caplog):
    def data() -> Any:
        return Data(owner=Odd(), noise=torch.randn(12), images=np.random.rand(2, 3))

    def start(num_epochs: int) -> None:
        cfg = {**odd_cfg(), "num_epochs": num_epochs}
        transform = v2.Compose([v2.RandomCrop(8), v2.Lambda(scaled(2.0))])
        source = data()
        source.transform = transform
        Trainer(cfg, data=source, criterion=Focal(1.0), model=net(0.1), hears=_poly).run()

    start(1)
    start(1)
    assert "changed" not in caplog.text
    start(2)
    assert [one for one in caplog.messages if "changed" in one and "num_epochs" not in one] == []


PROGRAM = """
    import sys
    sys.path.insert(0, {root!r})
    from tests.engine.resume.test_changes import Data, Trainer, odd_cfg
    cfg = {{**odd_cfg(), "num_epochs": int(sys.argv[1])}}
    Trainer(cfg, data=Data(known={{"x", "y", "z"}})).run()
"""


@pytest.mark.slow
def test_hash_seeds_and_another_process_are_no_change():
    root = str(Path(__file__).parents[3])
    Path("program.py").write_text(textwrap.dedent(PROGRAM.format(root=root)))
    for seed, epochs in (("1", "1"), ("2", "2"), ("3", "3")):
        found = subprocess.run(
            [sys.executable, "program.py", epochs],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
    assert "changed" not in found.stderr.replace("changed: num_epochs", "")


def test_a_new_key_with_the_default_is_no_change(caplog):
    Trainer().run()
    new = {"accumulate_steps": 1, "seed": 2020, "mixup": False, "extra": None, "on_nonfinite": None}
    Trainer({"num_epochs": 2, **new}).run()
    assert "changed: num_epochs" in caplog.text
    assert caplog.text.count("changed: ") == 1


def test_data_that_moved_with_their_folder_are_the_same(caplog):
    Trainer(data=Data(samples=files("a", "b"))).run()
    moved = Data(samples=files("a", "b", root="/mnt/other/a"))
    Trainer({"num_epochs": 2}, data=moved).run()
    assert "train data" not in caplog.text


def test_a_checkpoint_of_an_earlier_version_resumes(caplog):
    Trainer({"base_lr": 1, "head": "<Odd object at 0x7f00>", "where": "somewhere"}).run()
    path = checkpoint_paths(Path("run/checkpoints"))[0]
    values = json.loads((path / MANIFEST).read_bytes())
    values.pop("sha256")
    values["fingerprint"].pop("parts")
    old = Manifest(**{**values, "files": {}})
    files_of = Manifest.from_bytes((path / MANIFEST).read_bytes()).files
    old.files.update(files_of)
    (path / MANIFEST).write_bytes(old.to_bytes())
    state = torch.load(path / "state.pt")
    assert "parameters" in state["engine"]
    Trainer({"num_epochs": 2, **odd_cfg(), "base_lr": 1, "new": 3}, hears=_poly).run()
    assert caplog.text.count("changed: ") == 1
    with pytest.raises(ConfigError, match="base_lr: 1 then, 2 now"):
        Trainer({"num_epochs": 3, "base_lr": 2}).run()


def test_the_weights_that_a_network_begins_with_are_no_change():
    def start(loaded: bool, epochs: int) -> None:
        net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
        if loaded:
            net[0].get_buffer("running_mean").fill_(3.0)
            net[0].get_buffer("num_batches_tracked").fill_(7)
        Trainer({"num_epochs": epochs}, model=net).run()

    start(True, 1)
    start(False, 2)


def test_data_that_grow_between_epochs_are_told(caplog):
    class Grow(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                data.tensors = tuple(torch.cat([one, one[:4]]) for one in data.tensors)

    data = tiny_data()
    Trainer({"num_epochs": 3, "resume": "never"}, data=data, hears=lambda trainer: [Grow()]).run()
    assert caplog.text.count("the training data have 16 samples; the epoch before they had 12") == 1


def test_every_key_decides_unless_it_is_known_not_to():
    for key in ("lr", "base_lr", "anchors", "seed", "amp", "test_every", "class_name", "freeze"):
        assert decides_run(key)
    for key in ("work_dir", "log_freq", "gpu_id", "num_workers", "keep_last", "progress", "resume"):
        assert not decides_run(key)
        assert not is_told(key)
    for key in ("device", "gpus", "pin_memory", "print_freq", "save_freq", "log_level", "wandb"):
        assert not decides_run(key)
        assert not is_told(key)
    for key in ("train_data", "compile", "strategy", "anchors_file", "my_dir"):
        assert not decides_run(key)
        assert is_told(key)
