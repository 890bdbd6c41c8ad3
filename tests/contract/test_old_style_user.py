"""Programs, YAML files and weights of the old package's users keep working."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from basetrainer.utils.setup_config import load_config
from tests.fixtures.programs import TIMEOUT, run_program

PROGRAM = Path(__file__).with_name("old_program.py")
CONFIG = """\
train_data: "data/train"
net_type: "linear"
work_dir: "work_space"
batch_size: 8
lr: {lr}
optim_type: "SGD"
momentum: 0.9
num_epochs: 2
num_warn_up: 1
num_workers: 0
weight_decay: 0.0005
scheduler: "multi-step"
milestones: [ 1 ]
gpu_id: [ {ids} ]
log_freq: 2
progress: True
finetune: {finetune}
distributed: False
"""


def run(
    *arguments: str, ids: str = "0", finetune: str = "null", lr: str = "1e-1"
) -> subprocess.CompletedProcess[str]:
    Path("config.yaml").write_text(CONFIG.format(ids=ids, finetune=finetune, lr=lr))
    return run_program(PROGRAM, "--config_file", "config.yaml", *arguments)


def only_run(root: Path) -> Path:
    (folder,) = (root / "work_space").iterdir()
    return folder


def test_an_old_program_leaves_what_it_always_left(tmp_path):
    Path("config.yaml").write_text(CONFIG.format(ids="0", finetune="null", lr="1e-1"))
    done = subprocess.run(  # an interpreter of its own, as its user starts it
        [sys.executable, str(PROGRAM), "--config_file", "config.yaml"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:basetrainer"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("basetrainer ")
    folder = only_run(tmp_path)
    assert re.fullmatch(r"linear_\d{8}_\d{6}_\d{4}", folder.name)
    pictures = {"curves.png", "confusion_matrix.png"}  # beside what there always was
    assert {path.name for path in folder.iterdir()} - pictures == {
        "config.yaml",
        "setup_config.yaml",
        "log",
        "model",
    }
    saved = yaml.safe_load((folder / "setup_config.yaml").read_text())
    assert (saved["lr"], saved["milestones"], saved["gpu_id"]) == (0.1, [1], [0])
    names = {path.name for path in (folder / "model").iterdir()}
    assert "model_optimizer.pth" in names
    assert any(re.fullmatch(r"latest_model_001_\d+\.\d{4}\.pth", name) for name in names)
    (best,) = (name for name in names if name.startswith("best_model_"))
    model = torch.nn.Linear(4, 4)
    model.load_state_dict(torch.load(folder / "model" / best))
    with (folder / "log" / "results.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "train-loss", "test-loss", "train-Accuracy", "test-Accuracy"]
    assert len(rows) == 3
    text = (folder / "log" / "train.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\|INFO   \| start train$", text, re.M)
    assert re.search(r"\|INFO   \| test epoch:001,\{.*'Accuracy': ", text)
    assert re.search(r"\|INFO   \| \{'lr': .*'train': \{", text)
    assert re.search(r"\|INFO   \| save best_model:.*best_model_00", text)
    assert list((folder / "log").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("kind", ["weights", "wrapped weights", "training state"])
def test_an_old_program_starts_from_a_file_of_its_time(kind, tmp_path):
    torch.manual_seed(3)
    weights = torch.nn.Linear(4, 4).state_dict()  # what 1.0.4 saved: a plain OrderedDict
    old = {
        "weights": weights,
        "wrapped weights": {f"module.{name}": value for name, value in weights.items()},
        "training state": {"epoch": 1, "model": weights, "optimizer": {}},
    }[kind]
    torch.save(old, "old.pth")
    done = run("--num_epochs", "1", finetune="old.pth", lr="1e-9")
    assert done.returncode == 0, done.stderr
    (latest,) = (only_run(tmp_path) / "model").glob("latest_model_*.pth")
    for name, value in torch.load(latest).items():
        torch.testing.assert_close(value, weights[name])  # where it started


def test_what_has_a_new_name_is_said_and_nothing_else():
    done = run("--num_epochs", "1")
    warned = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert len(warned) == 1
    assert "old_program.py" in warned[0]
    assert warned[0].endswith(
        "DeprecationWarning: moder_dir= of ModelCheckpoint is now model_dir=."
    )


def test_a_run_goes_on_from_what_an_old_one_left(tmp_path):
    from tests.contract.old_program import ClassificationTrainer

    Path("config.yaml").write_text(CONFIG.format(ids=0, finetune="null", lr="0.1"))
    cfg = load_config("config.yaml", easy=True)
    cfg.config_file = "config.yaml"
    with pytest.warns(DeprecationWarning, match="moder_dir"):
        trainer: Any = ClassificationTrainer(cfg)  # type: ignore[no-untyped-call]
    weights = {name: torch.ones_like(one) for name, one in trainer.model.state_dict().items()}
    momentum = trainer.optimizer.state_dict() | {
        "state": {n: {"momentum_buffer": one} for n, one in enumerate(weights.values())}
    }
    Path("old").mkdir()
    state = {"epoch": 0, "model": weights, "optimizer": momentum}  # that of the first epoch
    torch.save(state, "old/model_optimizer.pth")
    saver = trainer.callbacks[-1]
    *_, trainer.start_epoch = saver.resume_model(trainer.model, trainer.optimizer, "old")
    assert all(bool((one == 1).all()) for one in trainer.model.state_dict().values())
    trainer.run()
    with (only_run(tmp_path) / "log" / "results.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]  # the second one alone


def test_a_typed_flag_beats_the_yaml_and_a_default_does_not(tmp_path):
    done = run("--num_epochs", "1")
    assert done.returncode == 0, done.stderr
    saved = yaml.safe_load((only_run(tmp_path) / "setup_config.yaml").read_text())
    assert (saved["num_epochs"], saved["batch_size"]) == (1, 8)


@pytest.mark.distributed
def test_an_old_program_runs_in_two_processes_into_one_folder(tmp_path):
    done = run("--distributed", ids="0, 1")
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path)
    text = (folder / "log" / "train.log").read_text()
    assert "num_steps         :3" in text  # 60 samples, 2 processes, batches of 8, drop_last
    assert len(list((folder / "model").glob("best*"))) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("num_epochs: three", ["num_epochs", "three", "config.yaml"]),
        ("milestones: 20", ["milestones", "20", "config.yaml"]),
        ("lr: fast", ["lr", "fast", "config.yaml"]),
    ],
)
def test_a_wrong_value_ends_an_old_program_with_its_key(line, words, tmp_path):
    key = line.partition(":")[0]
    Path("other.yaml").write_text(
        re.sub(rf"^{key}: .*$", line, CONFIG.format(ids=0, finetune="null", lr="1e-1"), flags=re.M)
    )
    done = run_program(PROGRAM, "--config_file", "other.yaml")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigError" in last
    assert all(word.replace("config", "other") in last for word in words)
    assert not (tmp_path / "work_space").exists()
