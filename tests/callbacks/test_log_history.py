"""LogHistory: lines, results.csv, TensorBoard."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest

from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.utils import log
from tests.callbacks.events import scalars
from tests.tiny import TinyTrainer

QUIET = {"num_epochs": 2, "progress": False}


def callbacks(folder: Path, **options: Any) -> list[Any]:
    history = LogHistory(folder, indicators=["loss", "Acc"], **{"pictures": False, **options})
    return [LossesRecorder(), AccuracyRecorder(), history]


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


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
    for name in ("box", "cls", "total_loss"):
        found = scalars(tmp_path / "test_loss_epoch" / name)
        assert found["test_loss_epoch"][-1] == pytest.approx(logs["test"]["loss"][name])
    assert rows(tmp_path / "results.csv")[1][2].startswith("{'box': ")


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
