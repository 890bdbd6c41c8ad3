"""Faults, planted one by one in a small trainer, and what a dry run says of each.

``python -m tests.engine.planted_faults`` prints the table of docs/dry_run.md.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils.data import Dataset

import basetrainer as bt
from basetrainer.engine.dry_run import dry_run
from basetrainer.utils import setup_config
from tests.tiny import tiny_data


class Folders(bt.EngineTrainer):
    """A small trainer that takes all from ``cfg``; ``parts`` replaces single parts of it."""

    parts: dict[str, Any] = {}  # noqa: RUF012 # a class of its own for each fault

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        setup_config.create_workspace(cfg, ["tiny"], self.is_main_process)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = self.parts.get("data") or tiny_data()
        options = self.parts.get("loader", {})
        return self.build_dataloader(data, cfg["batch_size"], 0, **options)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = self.parts.get("tests") or tiny_data()
        return self.build_dataloader(data, 4, 0, shuffle=False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(self.parts.get("model", nn.Linear)(3, cfg["num_classes"]))

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        model = self.parts.get("trained", self.model)
        return torch.optim.SGD(model.parameters(), lr=cfg["lr"])

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return self.parts.get("criterion") or nn.CrossEntropyLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        indicator = self.parts.get("indicator", "Acc")
        saver = bt.ModelCheckpoint(
            self.model, self.optimizer, cfg["model_dir"], cfg["num_epochs"], indicator=indicator
        )
        own = self.parts.get("callback", bt.Callback)()
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), own, saver]


SETTINGS = {"num_epochs": 30, "batch_size": 4, "num_classes": 3, "lr": 0.1}


class Cut(nn.Module):
    """A network whose output has an axis too many."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, classes)

    def forward(self, inputs: Any) -> Any:
        return self.layer(inputs)[:, None]


class Detached(Cut):
    """A network that no gradient reaches."""

    def forward(self, inputs: Any) -> Any:
        return self.layer(inputs).detach()


class NarrowNet(nn.Linear):
    """A network for inputs of another size."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__(size + 1, classes)


class Raises(bt.Callback):
    """Fails when the evaluation is over."""

    def on_test_end(self, logs: Any = None) -> None:
        raise RuntimeError("the report has no template")


class Unsavable(bt.Callback):
    """Has a state that no checkpoint may hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": object()}


class Forgets(bt.Callback):
    """Cannot take back its own state."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["sean"]


class Broken(Dataset[Any]):
    """One sample cannot be read."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        raise OSError(f"image {index} is truncated")


class Named(Dataset[Any]):
    """Samples are dicts, whose labels have another name than the trainer thinks."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return {"image": torch.randn(3), "labels": index % 3}


def changed(inputs: Any = None, labels: Any = None) -> Any:
    """The tiny data with other inputs or labels."""
    data = tiny_data()
    points, classes = data.tensors
    return torch.utils.data.TensorDataset(
        points if inputs is None else inputs(points.clone()),
        classes if labels is None else labels(classes.clone()),
    )


def nan(points: Any) -> Any:
    points[:, 1] = float("nan")
    return points


def run_step(self: Any, inputs: Any) -> Any:
    outputs = self.model(inputs["image"])
    return outputs, self.criterion(outputs, inputs["label"])


def only_loss(self: Any, inputs: Any) -> Any:
    return self.criterion(self.model(inputs[0]), inputs[1])


@dataclass
class Fault:
    """One fault, and words of what is said of it."""

    says: str
    parts: dict[str, Any] = field(default_factory=dict)
    cfg: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, Callable[..., Any]] = field(default_factory=dict)
    lacks: str = ""
    is_warning: bool = False


FAULTS = {
    "fewer classes than labels": Fault("the network has 2 classes", cfg={"num_classes": 2}),
    "a label below 0": Fault("go from -1 to 1", {"data": changed(labels=lambda one: one - 1)}),
    "labels that are no indices": Fault("float32", {"data": changed(labels=lambda one: one + 0.5)}),
    "a key that the settings lack": Fault("no key 'lr'", lacks="lr"),
    "a key that the batch lacks": Fault(
        "Did you mean 'labels'", {"data": Named(), "tests": Named()}, methods={"run_step": run_step}
    ),
    "a folder that cannot be made": Fault("is a file", cfg={"work_dir": "notes.txt/runs"}),
    "a figure that nobody records": Fault(
        "Did you mean 'Acc'", {"indicator": "Accu"}, is_warning=True
    ),
    "a batch larger than the data": Fault(
        "Lower batch_size", {"loader": {"drop_last": True}}, {"batch_size": 64}
    ),
    "one batch an epoch": Fault("each epoch is one step", cfg={"batch_size": 64}, is_warning=True),
    "NaN in the training data": Fault("NaN", {"data": changed(nan)}),
    "NaN in the test data": Fault("NaN", {"tests": changed(nan)}),
    "a callback that raises in on_test_end": Fault("no template", {"callback": Raises}),
    "an output of the wrong shape": Fault("(4, 1, 3)", {"model": Cut}),
    "inputs of the wrong size": Fault("(4, 3)", {"model": NarrowNet}),
    "inputs of the wrong type": Fault("uint8", {"data": changed(lambda one: one.byte())}),
    "run_step that returns the loss alone": Fault("run_step", methods={"run_step": only_loss}),
    "a loss without a gradient": Fault("require", {"model": Detached}),
    "an optimizer of another network": Fault("no weight has changed", {"trained": nn.Linear(3, 3)}),
    "a learning rate of 0": Fault("no weight has changed", cfg={"lr": 0.0}),
    "a sample that cannot be read": Fault("truncated", {"data": Broken()}),
    "a callback whose state cannot be saved": Fault("'seen'", {"callback": Unsavable}),
    "a callback that cannot load its state": Fault("load_state_dict", {"callback": Forgets}),
    "resume that names no run": Fault("no run", cfg={"resume": "runs/old"}),
    "a wrong setting": Fault("bf16", cfg={"amp": "bf61"}),
    "too small a disk": Fault("Make room"),
}


def trainer_class(fault: Fault) -> type[Folders]:
    """A trainer with one fault in it."""
    return type("Trainer", (Folders,), {"parts": fault.parts, **fault.methods})


def said(name: str, folder: Path) -> tuple[list[str], list[str]]:
    """Plant a fault, and return the problems and the warnings of a dry run.

    Args:
        name: One of FAULTS.
        folder: Where the run would go.
    """
    fault = FAULTS[name]
    cfg = {**SETTINGS, "work_dir": "runs", **fault.cfg}
    cfg.pop(fault.lacks, None)
    before = Path.cwd()
    os.chdir(folder)
    Path("notes.txt").touch()
    try:
        report = dry_run(trainer_class(fault), cfg)
    finally:
        os.chdir(before)
    return report.problems, report.warnings


def table() -> list[str]:
    """The rows of the table in docs/dry_run.md."""
    rows = []
    for name in FAULTS:
        small = mock.patch("basetrainer.engine.estimate.free_bytes", return_value=100_000)
        disk = small if name == "too small a disk" else nullcontext()
        with tempfile.TemporaryDirectory() as folder, disk:
            problems, warnings = said(name, Path(folder))
        (first, *_) = warnings if FAULTS[name].is_warning else problems
        first = re.sub(r"planted_faults.py, line \d+", "train.py, line N", first)
        first = re.sub(r"[\d,]+ bytes", "N bytes", first)
        rows.append(f"| {name} | {first.replace('|', '/')} |")
    return rows


if __name__ == "__main__":
    sys.stdout.write("\n".join([*table(), ""]))
