"""A run that goes on: files and TensorBoard have each epoch and each update once."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.summary.writer import event_file_writer

from basetrainer.callbacks.history.metrics_jsonl import MetricsJsonl
from basetrainer.callbacks.history.results_csv import rewind_csv
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.callbacks.events import points
from tests.tiny import TinyTrainer

CFG = {"progress": False, "log_freq": 1}


@pytest.fixture(autouse=True)
def event_files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads files of one second by the number in their names, as a text."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(1000))


def epochs_of(folder: Path) -> tuple[list[int], list[int]]:
    with (folder / "results.csv").open(newline="") as file:
        table = [int(row["epoch"]) for row in csv.DictReader(file)]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return table, [json.loads(line)["epoch"] for line in lines]


def trainer(folder: Path, num_epochs: int, **parts: Any) -> tuple[TinyTrainer, LogHistory]:
    history = LogHistory(folder / "log", pictures=False)
    made = TinyTrainer({**CFG, "num_epochs": num_epochs}, **parts)
    saver = ModelCheckpoint(made.model, None, folder / "model", num_epochs, 0, indicator="Acc")
    made.callbacks = [LossesRecorder(), AccuracyRecorder(), history, saver]
    return made, history


def test_going_on_from_an_epoch_leaves_each_epoch_and_each_update_once(tmp_path):
    log_dir = tmp_path / "log"
    trainer(tmp_path, 3)[0].run()
    before = points(log_dir), points(log_dir / "steps")
    again, _ = trainer(tmp_path, 5)
    again.position.load_state_dict({"epoch": 2, "step": 0, "update": 6})
    logs = again.run()
    assert epochs_of(log_dir) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    found, curves = points(log_dir), points(log_dir / "steps")
    assert [step for step, _ in found["test_loss_epoch"]] == [0, 1, 2, 3, 4]
    assert found["test_loss_epoch"][:2] == before[0]["test_loss_epoch"][:2]
    assert abs(found["test_loss_epoch"][-1][1] - logs["test"]["loss"]) < 1e-6
    assert [update for update, _ in curves["train_loss_step"]] == list(range(1, 16))
    assert curves["train_loss_step"][:6] == before[1]["train_loss_step"][:6]


def test_going_on_within_an_epoch_keeps_the_updates_before(tmp_path):
    log_dir = tmp_path / "log"
    trainer(tmp_path, 2)[0].run()
    again, _ = trainer(tmp_path, 2)
    again.position.load_state_dict({"epoch": 0, "step": 2, "update": 2})
    again.run()
    assert epochs_of(log_dir) == ([0, 1], [0, 1])
    assert [step for step, _ in points(log_dir)["lr_epoch"]] == [0, 1]
    updates = [update for update, _ in points(log_dir / "steps")["lr_step"]]
    assert updates[:3] == [1, 2, 3]
    assert len(updates) == len(set(updates))


def test_the_losses_of_a_dict_are_taken_back_too(tmp_path):
    class Multi(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, {"box": loss, "cls": 2 * loss}

    for start, end in ((0, 3), (1, 2)):
        made = Multi(
            {**CFG, "num_epochs": end},
            [MultiLossesRecorder(), LogHistory(tmp_path, pictures=False)],
        )
        made.position.load_state_dict({"epoch": start, "step": 0, "update": 3 * start})
        made.run()
    found = points(tmp_path / "test_loss_epoch" / "box")
    assert [step for step, _ in found["test_loss_epoch"]] == [0, 1]


def test_a_new_run_in_the_same_folder_cuts_nothing(tmp_path):
    for _ in range(2):
        trainer(tmp_path, 2)[0].run()
    assert epochs_of(tmp_path / "log") == ([0, 1, 0, 1], [0, 1, 0, 1])


def test_rows_of_an_earlier_run_are_kept_where_the_last_one_goes_back(tmp_path):
    table, lines = tmp_path / "results.csv", tmp_path / "metrics.jsonl"
    epochs = [0, 1, 2, 0, 1, 2]
    table.write_text("epoch,test-loss\n" + "".join(f"{epoch},0.5\n" for epoch in epochs))
    lines.write_text("".join(f'{{"epoch": {epoch}}}\n' for epoch in epochs))
    rewind_csv(table, 1)
    MetricsJsonl(lines).rewind(1)
    assert epochs_of(tmp_path) == ([0, 1, 2, 0], [0, 1, 2, 0])
    rewind_csv(tmp_path / "absent.csv", 1)


def test_a_state_keeps_columns_and_best_and_holds_plain_values(tmp_path, caplog):
    first, history = trainer(tmp_path, 3)
    first.run()
    state = history.state_dict()
    torch.save(state, tmp_path / "state.pth")
    assert torch.load(tmp_path / "state.pth", weights_only=True) == state
    again, history = trainer(tmp_path, 5)
    history.load_state_dict(state)
    again.position.load_state_dict({"epoch": 3, "step": 0, "update": 9})
    again.on_train_begin({})
    assert history.state_dict() == state
    logs = {"train": {"extra": 1.0}, "test": {"Acc": state["best"]["best"]}}
    again.on_epoch_end(3, logs)  # as good as the best, so no best
    assert history.state_dict() == state
    header, *_, last = (tmp_path / "log" / "results.csv").read_text().splitlines()
    assert header == "epoch,train-loss,test-loss,train-Acc,test-Acc,train-extra"
    assert last.startswith("3,,,,")
    assert last.endswith(",1")
    again.on_train_end(logs)
