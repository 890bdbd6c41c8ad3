"""LogHistory: lines, results.csv, TensorBoard."""

from __future__ import annotations

import ast
import copy
import csv
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.errors import ConfigError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.utils import log
from tests.callbacks.events import points, scalars
from tests.tiny import TinyTrainer

NAMES = ("box", "cls", "total_loss")
QUIET = {"num_epochs": 2, "progress": False}


def callbacks(folder: Path, **options: Any) -> list[Any]:
    history = LogHistory(folder, indicators=["loss", "Acc"], **{"pictures": False, **options})
    return [LossesRecorder(), AccuracyRecorder(), history]


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def dicts(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def train_log(tmp_path):
    path = tmp_path / "log" / "train.log"
    logger = log.set_logger(level="info", logfile=str(path))
    yield path
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def test_the_log_has_the_old_lines_and_the_screen_one_line_per_epoch(train_log, capsys):
    TinyTrainer(QUIET, callbacks(train_log.parent, log_freq=2)).run()
    lines = train_log.read_text().splitlines()
    messages = [line.split("|", 2)[2][1:] for line in lines if "|INFO   | " in line]
    assert messages[0].startswith("{'lr': 0.1, 'train': {'loss': ")
    assert any(line.startswith("train epoch:000,{'loss': ") for line in messages)
    assert any(line.startswith("test epoch:001,{'loss': ") for line in messages)
    screen = capsys.readouterr().err.splitlines()
    assert len(screen) == 3
    assert "| epoch 1/2 | train loss " in screen[0]
    assert "| run took 0:0" in screen[2]
    assert "\r" not in "".join(screen)


def test_results_csv_has_one_header_and_a_row_per_epoch(tmp_path):
    logs = TinyTrainer(QUIET, callbacks(tmp_path)).run()
    table = rows(tmp_path / "results.csv")
    assert table[0] == ["epoch", "train-loss", "test-loss", "train-Acc", "test-Acc"]
    assert [row[0] for row in table[1:]] == ["0", "1"]
    assert float(table[2][2]) == pytest.approx(logs["test"]["loss"], rel=1e-5)


def test_a_rerun_with_other_columns_moves_the_old_table_away(tmp_path):
    TinyTrainer(QUIET, callbacks(tmp_path)).run()
    TinyTrainer(QUIET, callbacks(tmp_path)).run()
    assert len(rows(tmp_path / "results.csv")) == 5
    TinyTrainer(
        QUIET, [LossesRecorder(), LogHistory(tmp_path, indicators=["loss"], pictures=False)]
    ).run()
    assert rows(tmp_path / "results.csv")[0] == ["epoch", "train-loss", "test-loss"]
    assert len(rows(tmp_path / "results-1.csv")) == 5


def test_rows_and_events_are_on_disk_when_the_next_epoch_begins(tmp_path):
    class Dying(TinyTrainer):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                assert len(rows(tmp_path / "results.csv")) == 2
                assert len(scalars(tmp_path)["test_loss_epoch"]) == 1
            super().on_epoch_begin(epoch, logs)

    Dying(QUIET, callbacks(tmp_path)).run()


def test_tensorboard_has_the_old_tags(tmp_path):
    logs = TinyTrainer(QUIET, callbacks(tmp_path)).run()
    found = scalars(tmp_path)
    assert set(found) == {
        "train_loss_epoch",
        "test_loss_epoch",
        "train_Acc_epoch",
        "test_Acc_epoch",
        "lr_epoch",
    }
    assert found["test_loss_epoch"][-1] == pytest.approx(logs["test"]["loss"])
    assert found["lr_epoch"] == pytest.approx([0.1, 0.1])


def test_each_loss_of_a_dict_has_a_folder_of_its_own(tmp_path):
    class Multi(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, {"box": loss, "cls": 2 * loss}

    recorders = [MultiLossesRecorder(), LogHistory(tmp_path, indicators=["loss"], pictures=False)]
    logs = Multi(QUIET, recorders).run()
    for name in NAMES:
        found = scalars(tmp_path / "test_loss_epoch" / name)
        assert found["test_loss_epoch"][-1] == pytest.approx(logs["test"]["loss"][name])
    header, _, last = rows(tmp_path / "results.csv")
    names = [f"{phase}-loss/{name}" for phase in ("train", "test") for name in NAMES]
    assert header == ["epoch", *names]
    assert float(last[5]) == pytest.approx(logs["test"]["loss"]["cls"], rel=1e-5)


def test_a_process_that_is_not_the_main_one_writes_nothing(tmp_path):
    TinyTrainer(QUIET, callbacks(tmp_path / "none", is_main_process=False)).run()
    assert not (tmp_path / "none").exists()


def test_log_freq_zero_writes_no_line_within_an_epoch(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        TinyTrainer(QUIET, callbacks(tmp_path, log_freq=0)).run()
    assert not any(record.getMessage().startswith("{") for record in caplog.records)


def test_lines_are_shown_where_nobody_has_set_up_logging(tmp_path, capfd, monkeypatch):
    package = logging.getLogger("basetrainer")
    before = package.level, package.propagate, package.handlers[:]
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    try:
        package.handlers[:] = []
        package.setLevel(logging.WARNING)  # wanted so: nothing is set up
        TinyTrainer(QUIET, callbacks(tmp_path / "quiet")).run()
        assert capfd.readouterr().err == ""
        package.setLevel(logging.NOTSET)
        for _ in range(2):
            TinyTrainer(QUIET, callbacks(tmp_path / "told")).run()
        told = capfd.readouterr().err
        assert told.count("epoch 2/2 | train loss") == 2
        assert told.count("told has the figures of an earlier run") == 1
    finally:
        package.setLevel(before[0])
        package.propagate, package.handlers[:] = before[1], before[2]


def test_the_end_tells_which_epoch_was_best(train_log, tmp_path):
    trainer = TinyTrainer(QUIET, callbacks(tmp_path / "log"))
    saver = ModelCheckpoint(
        trainer.model, trainer.optimizer, tmp_path / "model", 2, indicator="loss", mode="min"
    )
    trainer.callbacks.append(saver)
    trainer.run()
    assert "|INFO   | best loss 0." in train_log.read_text(encoding="utf-8")


class Extras(Callback):
    """Adds metrics as users do: on the test alone, late, of any type."""

    def on_train_summary(self, *args: Any) -> None:
        args[-1]["train"]["seen"] = args[4] + 1  # before the recorders have written anything

    def on_test_end(self, logs: Any = None) -> None:
        if "test" in logs:
            logs["test"]["IoU"] = {"circle": torch.tensor(11.5), "square": np.float64(50.0)}
            logs["test"]["curve"] = [1.0, 2.0]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            logs["train"]["late"] = torch.tensor([2.5])
        logs["train"]["note"] = "text, with a comma"


def test_metrics_that_come_late_reach_every_file(tmp_path, caplog):
    made = [Extras(), LossesRecorder(), LogHistory(tmp_path, pictures=False)]
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        TinyTrainer({"num_epochs": 4, "progress": False, "test_every": 2}, made).run()
    table = dicts(tmp_path / "results.csv")
    assert [row["test-IoU/circle"] for row in table] == ["", "11.5", "", "11.5"]
    assert [row["train-late"] for row in table] == ["", "", "2.5", "2.5"]
    assert [row["train-seen"] for row in table] == ["3"] * 4
    assert "train-note" not in table[0]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[3]["test"]["curve"] == [1.0, 2.0]
    assert lines[2]["train"]["late"] == 2.5
    found = points(tmp_path)
    assert [step for step, _ in found["test_loss_epoch"]] == [1, 3]
    assert [step for step, _ in found["train_late_epoch"]] == [2, 3]
    assert points(tmp_path / "test_IoU_epoch" / "square")["test_IoU_epoch"] == [(1, 50), (3, 50)]
    warned = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.partition(" is of")[0] for one in warned] == [
        "logs['train']['note']",
        "logs['test']['curve']",
    ]
    screen = [one.getMessage() for one in caplog.records if not hasattr(one, "file_only")]
    assert any("test IoU/circle 11.5 IoU/square 50 loss" in one for one in screen)


def test_late_columns_are_those_of_a_run_that_was_never_interrupted(tmp_path):
    def train(folder: Path, start: int, end: int) -> None:
        cfg = {"num_epochs": end, "progress": False, "test_every": 3}
        made = TinyTrainer(cfg, [LossesRecorder(), Extras(), LogHistory(folder, pictures=False)])
        made.position.load_state_dict({"epoch": start, "step": 0, "update": 3 * start})
        made.run()

    for end in (2, 3, 4):  # an epoch that was the last one is tested
        train(tmp_path / str(end), 0, end)
        train(tmp_path / str(end), 1, 4)
    headers = [rows(tmp_path / str(end) / "results.csv")[0] for end in (2, 3, 4)]
    assert all(sorted(one) == sorted(headers[0]) for one in headers)
    for end in (2, 3, 4):
        table = dicts(tmp_path / str(end) / "results.csv")
        assert [row["epoch"] for row in table] == ["0", "1", "2", "3"]
        assert [row["test-IoU/square"] for row in table] == ["", "", "50", "50"]
        assert [row["train-late"] for row in table] == ["", "", "2.5", "2.5"]


class Loguru:
    """A logger as loguru's: it formats with braces, and knows no ``extra``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *args: Any, **kwargs: Any) -> None:
        self.lines.append(text.format(*args, **kwargs) if args or kwargs else text)


def test_any_object_with_info_is_a_logger(tmp_path):
    mine = Loguru()
    trainer = TinyTrainer(QUIET, callbacks(tmp_path / "log", log_freq=2, logger=mine))
    folder = tmp_path / "model"
    saver = ModelCheckpoint(
        trainer.model, trainer.optimizer, folder, 2, indicator="Acc", logger=mine
    )
    trainer.callbacks.append(saver)
    trainer.run()
    for start in (
        "{'lr': 0.1, 'train'",
        "train epoch:000,{'loss'",
        "epoch 1/2 |",
        "save best_model:/",
    ):
        assert any(line.startswith(start) for line in mine.lines)
    with pytest.raises(ConfigError, match=r"has no method info\(text\)"):
        LogHistory(tmp_path, logger=print)


class Reading(Callback):
    """Reads the logs in each hook, by every way, and compares with what is right."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.check("on_batch_end", logs, "train")

    def on_train_summary(self, *args: Any) -> None:
        self.check("on_train_summary", args[-1], "train")

    def on_test_summary(self, *args: Any) -> None:
        self.check("on_test_summary", args[-1], "test")

    def on_test_end(self, logs: Any = None) -> None:
        self.check("on_test_end", logs, "test")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.check("on_epoch_end", logs, "test")

    def check(self, hook: str, logs: Any, phase: str) -> None:
        ways: list[Any] = [
            lambda: json.loads(json.dumps(logs))[phase],
            lambda: json.loads(json.dumps(logs[phase], sort_keys=True)),
            lambda: copy.deepcopy(logs)[phase],
            lambda: pickle.loads(pickle.dumps(logs))[phase],
            lambda: dict(dict(logs)[phase]),
            lambda: {**logs[phase]},
            lambda: dict(iter(logs[phase].items())),
            lambda: {} | logs[phase],
            lambda: ast.literal_eval(repr(logs))[phase],
        ]
        # Another way is the first to look after each batch.
        ways = ways[len(self.seen) % len(ways) :] + ways[: len(self.seen) % len(ways)]
        found = [way() for way in ways]
        assert found[0].keys() == {"loss", "Acc"}, (hook, found[0])
        assert all(one == found[0] for one in found)
        self.seen.add(f"{hook} {len(self.seen)}")


def test_logs_are_right_in_every_hook_by_whichever_way_they_are_read():
    reading = Reading()
    TinyTrainer({**QUIET, "log_freq": 0}, [LossesRecorder(), AccuracyRecorder(), reading]).run()
    assert len({one.split()[0] for one in reading.seen}) == 5
