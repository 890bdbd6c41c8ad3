"""A small training of several processes in which one of them fails, where and how it is told to.

    python -m scenarios.failing '{"how": "raise", "where": "hook", "rank": 1, "world": 2}'

``how`` is ``raise``, ``SIGKILL``, ``SIGTERM``, ``exit`` (``os._exit(0)``), ``sys.exit``,
``stall`` or ``pause`` (2 seconds); ``where`` is ``train`` (a training step), ``test`` (a test
step), ``hook``, ``worker`` (a loader worker) or ``save``. Without ``how`` the training comes to its
end.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import basetrainer as bt
from basetrainer.checkpoint.tree import tensors_of
from basetrainer.engine import comm
from basetrainer.engine.processes.watchdog import Watch
from basetrainer.engine.resume.state import collect

SETTINGS: dict[str, Any] = {
    "how": None,
    "where": "train",
    "rank": 1,
    "world": 2,
    "work_dir": "run",
    "resume": "auto",
    "num_epochs": 2,
    "progress": False,
    "stall_limit": None,
    "patience": None,
    "start_method": "fork",
    "moment": None,
    "fail_at": 3,
    "strategy": "auto",
    "save_every_updates": None,
}
"""``patience`` takes the place of ``stall_limit`` on every rank once it comes to where one stalls.
``fail_at`` is the step of the first epoch in which it happens; a job that was started again, as
``max_restarts`` lets it, fails no more."""


def lose_patience(seconds: float) -> None:
    """Let this process's watch wait no longer than this from now on.

    With so short a ``stall_limit`` from the start, a step that a busy machine delays would count
    as a stall.
    """
    if (watch := Watch.current) is not None:
        watch._limit = seconds
        watch._arm()


class Failing:
    """Fails once, in the way and on the rank of the settings."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        self.cfg = cfg

    def __call__(self, where: str) -> None:
        """Fail, if it is here that it shall."""
        if self.cfg["where"] == where:
            if self.cfg["patience"]:
                lose_patience(self.cfg["patience"])
            if comm.get_rank() == self.cfg["rank"]:
                self.fail()

    def fail(self) -> None:
        """Fail here, and leave the time in a file."""
        how = self.cfg["how"]
        if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
            return
        if how is not None and self.cfg["moment"]:
            Path(self.cfg["moment"]).write_text(str(time.time()))
        if how == "raise":
            raise RuntimeError(f"broken in {self.cfg['where']}")
        if how in ("SIGKILL", "SIGTERM"):
            os.kill(os.getpid(), signal.Signals[how])
        if how == "exit":
            os._exit(0)
        if how == "sys.exit":
            sys.exit(0)
        if how == "pause":
            time.sleep(2.0)
        while how == "stall":
            time.sleep(1.0)


class Points(Dataset[Any]):
    """Random points; one of them is the end of the loader worker that is asked for it."""

    def __init__(self, failing: Failing | None = None) -> None:
        self.points = torch.randn(48, 3, generator=torch.Generator().manual_seed(1))
        self.rank = comm.get_rank()
        self.failing = failing

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        failing = self.failing
        # Of the worker, which has no rank of its own; the sixth sample that it is asked for.
        if failing is not None and self.rank == failing.cfg["rank"]:
            self.asked = getattr(self, "asked", 0) + 1
            if self.asked == 2 * failing.cfg["fail_at"]:
                failing.fail()
        return self.points[index], self.points[index].argmax()


class FailingHook(bt.Callback):
    """A callback of the user's."""

    def __init__(self, failing: Failing) -> None:
        super().__init__()
        self.failing = failing

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.failing.cfg["fail_at"]:
            self.failing("hook")


class FailingTrainer(bt.EngineTrainer):
    """One linear layer."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.failing = Failing(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        in_worker = cfg["how"] is not None and cfg["where"] == "worker"
        data = Points(self.failing if in_worker else None)
        return self.build_dataloader(data, 2, 1 if in_worker else 0)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(Points(), 2, 0, shuffle=False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(nn.Linear(3, 3))

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.1)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), FailingHook(self.failing)]

    def run_step(self, inputs: Any) -> Any:
        if self.model.training and self.position.step == self.cfg["fail_at"]:
            self.failing("train")
        if not self.model.training and self.test_step == self.cfg["fail_at"]:
            self.failing("test")
        return super().run_step(inputs)

    def state_dict(self) -> dict[str, Any]:
        if self.position.update:  # before the first step it is only looked at
            self.failing("save")
        return super().state_dict()


def main(cfg: dict[str, Any]) -> str:
    """Train as one rank, and return a hash of weights, optimizer and figures."""
    torch.set_num_threads(1)
    trainer = FailingTrainer(cfg)
    logs = trainer.run()
    tree = collect(trainer, logs)
    found = hashlib.sha256(repr({phase: dict(logs[phase]) for phase in ("train", "test")}).encode())
    for place, tensor in tensors_of({key: tree.get(key) for key in ("model", "optimizer")}):
        found.update(place.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def start(settings: dict[str, Any], **options: Any) -> Any:
    """Launch, or join what torchrun started; ``options`` are those of ``launch()``."""
    cfg = {**SETTINGS, **settings}
    Path(cfg["work_dir"]).mkdir(parents=True, exist_ok=True)
    return bt.launch(main, cfg["world"], args=(cfg,), start_method=cfg["start_method"], **options)


def blames(text: str, case: dict[str, Any]) -> bool:
    """Whether what is last on the screen names the rank, and what happened to it."""
    how, where, rank = case["how"], case["where"], case["rank"]
    _, _, last = text.rpartition("error: ")
    said = {
        "raise": (f"rank {rank} at ", f"broken in {where}"),
        "SIGKILL": (f"Rank {rank} ended with signal 9",),
        "exit": (f"Rank {rank} left early",),
        "sys.exit": (f"Rank {rank} left early",),
        "stall": (f"Rank {rank} at ", "nothing was done for"),
    }[how]
    if where == "worker" and how in ("SIGKILL", "exit"):
        said = (f"(rank {rank} at epoch 1", "A loader worker")
    elif how == "SIGKILL" and case.get("launcher") == "torchrun":
        _, _, last = text.rpartition("Root Cause")  # torchrun's own table has it
        said = (f" {rank} (local_rank: {rank})", "Signal 9")
    return all(one in last for one in said)


if __name__ == "__main__":
    start(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
