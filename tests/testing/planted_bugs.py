"""Bugs, planted one by one in a trainer that passes all checks, and the check that catches each.

``python -m tests.testing.planted_bugs`` prints the table of docs/testing.md.
"""

from __future__ import annotations

import functools
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, get_worker_info

import basetrainer as bt
from basetrainer.testing import checks

SETTINGS = {"num_epochs": 2, "batch_size": 4, "num_workers": 0, "lr": 0.5, "milestones": [1]}


class Points(Dataset[Any]):
    """Sixteen points in three classes, moved a little at random."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.points = torch.randn(16, 3, generator=generator)
        self.labels = self.points.argmax(1)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Any:
        return self.points[index] + 0.01 * self.noise(index), self.labels[index]

    def noise(self, index: int) -> Any:
        return torch.randn(3)


class Good(bt.EngineTrainer):
    """Passes all checks."""

    data: type[Points] = Points
    callback: type[bt.Callback] = bt.Callback
    reduction = "mean"

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(self.data(), cfg["batch_size"], cfg["num_workers"])

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(Points(), 4, cfg["num_workers"], False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(nn.Linear(3, 3))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss(reduction=self.reduction)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=cfg["lr"], momentum=0.9)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), self.callback()]


# -- overfits_one_batch ------------------------------------------------------------------------


class OthersWeights(Good):
    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        self.old = nn.Linear(3, 3)
        return torch.optim.SGD(self.old.parameters(), lr=cfg["lr"])


class Uphill(Good):
    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=cfg["lr"], maximize=True)


class OthersTargets(Good):
    def run_step(self, inputs: Any) -> Any:
        data, targets = inputs
        outputs = self.model(data)
        return outputs, self.criterion(outputs, targets[torch.randperm(len(targets))])


class MixedUp(Good):
    def run_step(self, inputs: Any) -> Any:
        data, targets = inputs
        outputs = self.model(data.mean(0, keepdim=True).expand_as(data))
        return outputs, self.criterion(outputs, targets)


# -- resumes_exactly ---------------------------------------------------------------------------


class Counts(bt.Callback):
    """Turns the learning rate down after a number of steps, which it forgets."""

    steps = 0

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps == 8 and self.engine is not None:
            self.engine.optimizer.param_groups[0]["lr"] *= 0.1


class ForgetfulCallback(Good):
    callback = Counts


class ForgetfulTrainer(Good):
    steps = 0

    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        self.steps += self.model.training
        return outputs, loss * (1.0 + 0.1 * self.steps)


class Half(Counts):
    """Saves its state and does not take it back."""

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}


class HalfSaved(Good):
    callback = Half


class OwnStream(Points):
    generator = torch.Generator()

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def noise(self, index: int) -> Any:
        return torch.randn(3, generator=self.generator)


class OwnGenerator(Good):
    data = OwnStream


# -- independent_of_workers --------------------------------------------------------------------


class OfWorker(Points):
    def noise(self, index: int) -> Any:
        worker = get_worker_info()
        return torch.full((3,), 0.0 if worker is None else 1.0 + worker.id)


class WorkerNumber(Good):
    data = OfWorker


class Asked(Points):
    asked = 0

    def noise(self, index: int) -> Any:
        self.asked += 1
        return torch.full((3,), float(self.asked))


class CountsInDataset(Good):
    data = Asked


# -- two_processes_equal_one -------------------------------------------------------------------


class ScaledRate(Good):
    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=cfg["lr"] * self.world_size)


class AllSeeAll(Good):
    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        size, workers = cfg["batch_size"], cfg["num_workers"]
        return self.build_dataloader(self.data(), size, workers, distributed=False)


class MainTestsItsShare(Good):
    def on_test_end(self, logs: Any = None) -> None:
        super().on_test_end(logs)
        logs["test"]["share"] = float(len(list(self.test_loader)))


# -- accumulation_invariant --------------------------------------------------------------------


class SumOfLosses(Good):
    reduction = "sum"


class Masked(Good):
    """Averages over the samples of two classes, and counts those of all."""

    def run_step(self, inputs: Any) -> Any:
        data, targets = inputs
        outputs = self.model(data)
        total = nn.functional.cross_entropy(outputs, targets, ignore_index=2, reduction="sum")
        return outputs, total / (targets != 2).sum().clamp(min=1)


class StepsByHand(Good):
    def train_step(self, inputs: Any) -> Any:
        outputs, loss = self.run_step(inputs)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return outputs, loss.detach()


# -- no_host_reads -----------------------------------------------------------------------------


class ReadsLoss(Good):
    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        self.last = loss.item()
        return outputs, loss


class Branches(Good):
    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        return outputs, torch.zeros_like(loss) if torch.isnan(loss) else loss


class Lists(bt.Callback):
    def on_train_summary(
        self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
    ) -> None:
        self.labels = inputs[1].tolist()


class ListsLabels(Good):
    callback = Lists


class Formats(bt.Callback):
    def on_train_summary(
        self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
    ) -> None:
        self.line = f"step {step}: loss {losses:.3f}"


class FormatsLoss(Good):
    callback = Formats


# -- deterministic -----------------------------------------------------------------------------


class Entropy(Points):
    def noise(self, index: int) -> Any:
        return torch.from_numpy(np.random.default_rng().standard_normal(3)).float()


class SystemNoise(Good):
    data = Entropy


class SystemWeights(Good):
    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        model = nn.Linear(3, 3)
        generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
        nn.init.normal_(model.weight, generator=generator)
        return self.build_model_parallel(model)


class SystemLabels(Good):
    def run_step(self, inputs: Any) -> Any:
        data, targets = inputs
        if random.SystemRandom().random() < 0.5:
            data = data + 0.5
        return super().run_step((data, targets))


# -- config_round_trips ------------------------------------------------------------------------


class RaisesRate(Good):
    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        cfg["lr"] *= 0.5
        return super().build_optimizer(cfg, **kwargs)


class AddsMilestone(Good):
    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        cfg["milestones"] = [*cfg["milestones"], cfg["num_epochs"]]
        return super().build_callbacks(cfg, **kwargs)


class KeepsFunction(Good):
    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        cfg["loss"] = lambda outputs, targets: None
        return super().build_criterion(cfg, **kwargs)


def make(kind: type[Good], **settings: Any) -> Good:
    """A trainer of one kind."""
    return kind({**SETTINGS, **settings})


@dataclass(frozen=True)
class Bug:
    """A bug, and the check that catches it."""

    what: str
    kind: type[Good]
    check: Callable[..., None]

    def caught(self) -> str:
        """Return what the check says; "" if it says nothing."""
        return said(self.check, self.kind)


def said(check: Callable[..., None], kind: type[Good]) -> str:
    """Return what a check says of a trainer; "" if it passes."""
    more = {"start_method": "fork"} if check is checks.two_processes_equal_one else {}
    try:
        check(functools.partial(make, kind), **more)
    except AssertionError as error:
        return str(error)
    return ""


BUGS = (
    Bug(
        "the optimizer has the weights of another network", OthersWeights, checks.overfits_one_batch
    ),
    Bug("the loss goes up", Uphill, checks.overfits_one_batch),
    Bug("targets of other samples", OthersTargets, checks.overfits_one_batch),
    Bug("all samples of a batch get one output", MixedUp, checks.overfits_one_batch),
    Bug("a callback counts and does not save it", ForgetfulCallback, checks.resumes_exactly),
    Bug("the trainer counts and does not save it", ForgetfulTrainer, checks.resumes_exactly),
    Bug("a callback saves and does not load", HalfSaved, checks.resumes_exactly),
    Bug("a dataset with a generator of its own", OwnGenerator, checks.resumes_exactly),
    Bug("samples hang on the worker", WorkerNumber, checks.independent_of_workers),
    Bug("a dataset that counts its samples", CountsInDataset, checks.independent_of_workers),
    Bug("lr times the number of processes", ScaledRate, checks.two_processes_equal_one),
    Bug("every process sees all data", AllSeeAll, checks.two_processes_equal_one),
    Bug("a test figure of one process's share", MainTestsItsShare, checks.two_processes_equal_one),
    Bug("a sum of losses, not a mean", SumOfLosses, checks.accumulation_invariant),
    Bug("a masked loss without loss_count", Masked, checks.accumulation_invariant),
    Bug("optimizer.step() by hand", StepsByHand, checks.accumulation_invariant),
    Bug("loss.item() in run_step", ReadsLoss, checks.no_host_reads),
    Bug("an if on a tensor", Branches, checks.no_host_reads),
    Bug("tolist() in a callback", ListsLabels, checks.no_host_reads),
    Bug("an f-string of the loss", FormatsLoss, checks.no_host_reads),
    Bug("noise from the system's entropy", SystemNoise, checks.deterministic),
    Bug("weights from the system's entropy", SystemWeights, checks.deterministic),
    Bug("a choice that nobody seeds", SystemLabels, checks.deterministic),
    Bug("build changes a setting each time", RaisesRate, checks.config_round_trips),
    Bug("build adds to a list each time", AddsMilestone, checks.config_round_trips),
    Bug("a function among the settings", KeepsFunction, checks.config_round_trips),
)


def table() -> list[str]:
    """The rows of the table in docs/testing.md."""
    rows = []
    for bug in BUGS:
        text = bug.caught().partition(": ")[0] or "NOT CAUGHT"
        rows.append(f"| {bug.what} | `{bug.check.__name__}` | {text} |")
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in table():
        sys.stdout.write(f"{line}\n")
