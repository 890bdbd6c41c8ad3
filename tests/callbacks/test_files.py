"""metrics.jsonl and run.json, and what is left of a run that was killed."""

from __future__ import annotations

import csv
import json
import math
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tests
from basetrainer.callbacks.history import run_info
from basetrainer.callbacks.history.metrics_jsonl import MetricsJsonl, json_value
from basetrainer.callbacks.history.results_csv import ResultsCsv
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.callbacks.events import points
from tests.fixtures.programs import run_program
from tests.tiny import TinyTrainer

QUIET = {"num_epochs": 2, "progress": False}
ROOT = Path(tests.__file__).parents[1]


def json_lines(path: Path) -> list[Any]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_metrics_jsonl_has_an_object_per_epoch(tmp_path):
    logs = TinyTrainer(
        QUIET, [LossesRecorder(), AccuracyRecorder(), LogHistory(tmp_path, pictures=False)]
    ).run()
    found = json_lines(tmp_path / "metrics.jsonl")
    assert [one["epoch"] for one in found] == [0, 1]
    assert found[1]["test"] == logs["test"]
    assert found[1]["train"] == logs["train"]
    assert found[1]["lr"] == 0.1
    assert found[1]["seconds"] >= 0


def test_nan_and_infinity_are_null(tmp_path):
    MetricsJsonl(tmp_path / "m.jsonl").append(0, {"test": {"loss": math.nan, "b": -math.inf}}, 1)
    assert json_lines(tmp_path / "m.jsonl")[0]["test"] == {"loss": None, "b": None}


def test_what_users_put_into_logs_becomes_plain():
    value = {"t": torch.tensor([1.5], requires_grad=True), 1: (np.float32(0.5), np.arange(2))}
    more = {"p": Path("x"), "s": torch.eye(2).to_sparse(), "d": Decimal("0.5"), "b": torch.ones(2)}
    found = json_value({"a": value, **more})
    assert found.pop("s").startswith("tensor(")
    assert found == {"a": {"t": 1.5, "1": [0.5, [0, 1]]}, "p": "x", "d": 0.5, "b": [1.0, 1.0]}


def test_a_line_that_was_cut_off_is_dropped_when_a_run_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0}\n{"epo')
    MetricsJsonl(path).append(1, {}, 0.0)
    assert [one["epoch"] for one in json_lines(path)] == [0, 1]
    table = tmp_path / "results.csv"
    table.write_text("epoch,train-loss,test-loss\n0,1.0,2.0\n1,0.")
    ResultsCsv(table, ["loss"]).append(1, {"train": {"loss": 0.5}})
    assert table.read_text().split() == ["epoch,train-loss,test-loss", "0,1.0,2.0", "1,0.5,"]


def test_run_json_says_what_made_the_run(tmp_path):
    TinyTrainer({**QUIET, "seed": 7}, [LogHistory(tmp_path, pictures=False)]).run()
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["seed"] == 7
    assert found["command"] == [sys.executable, *sys.argv]
    assert found["versions"]["torch"] == torch.__version__
    assert {"host", "start", "git", "device", "processes", "system"} <= set(found)
    TinyTrainer({**QUIET, "seed": 8}, [LogHistory(tmp_path, pictures=False)]).run()
    found = json.loads((tmp_path / "run.json").read_text())
    assert (found["seed"], [one["seed"] for one in found["earlier"]]) == (8, [7])


def test_the_git_commit_is_that_of_the_programs_folder(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert run_info.git_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "train.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "Start")
    commit = git("rev-parse", "HEAD")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
    assert run_info.run_info()["git"] == {"commit": commit, "is_changed": False}
    (tmp_path / "train.py").write_text("2")
    assert run_info.run_info()["git"] == {"commit": commit, "is_changed": True}
    monkeypatch.setenv("PATH", "")
    assert run_info.run_info()["git"] is None


KILLED = """
import os, signal, sys
import torch
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from tests.fixtures.programs import run_program
from tests.tiny import TinyTrainer

class Killed(TinyTrainer):
    def on_batch_end(self, batch, logs=None):
        super().on_batch_end(batch, logs)
        if self.epoch == 3 and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
cfg = {"num_epochs": 9, "progress": False, "log_freq": 1}
Killed(cfg, [LossesRecorder(), LogHistory(sys.argv[1], indicators=["loss"], pictures=False)]).run()
"""


def test_a_killed_run_leaves_files_that_open_and_hold_every_finished_epoch(tmp_path):
    Path("killed.py").write_text(KILLED)
    done = run_program("killed.py", str(tmp_path))
    assert done.returncode == -signal.SIGKILL, done.stderr
    with (tmp_path / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = json_lines(tmp_path / "metrics.jsonl")
    events = points(tmp_path)["test_loss_epoch"]
    assert [row["epoch"] for row in table] == ["0", "1", "2"]
    assert [one["epoch"] for one in lines] == [0, 1, 2]
    assert [step for step, _ in events] == [0, 1, 2]
    for row, line, (_, event) in zip(table, lines, events, strict=True):
        assert abs(float(row["test-loss"]) - line["test"]["loss"]) < 1e-5
        assert abs(event - line["test"]["loss"]) < 1e-6
    curve = points(tmp_path / "steps")["train_loss_step"]
    assert [update for update, _ in curve[:9]] == list(range(1, 10))  # three epochs of three
