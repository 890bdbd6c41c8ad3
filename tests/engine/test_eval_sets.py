"""Several named test sets: scored apart, each as if it were the only one."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from basetrainer._logs import find_metric
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.errors import ConfigError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.callbacks.events import scalars
from tests.tiny import TinyTrainer, Tracer, tiny_data

QUIET = {"num_epochs": 2, "progress": False}


class Several(TinyTrainer):
    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        loader = self.build_dataloader(tiny_data(30), 4, 0, shuffle=False, phase="test")
        return {"small": super().build_test_loader(cfg), "large": loader}


def test_each_set_has_the_figures_it_would_have_alone():
    trainer = Several(QUIET, [LossesRecorder(), AccuracyRecorder()])
    logs = trainer.run()
    assert list(logs["test"]) == ["small", "large"]
    assert trainer.test_num == 42
    assert trainer.test() == logs["test"]
    sets = trainer.test_loader
    for name, loader in sets.items():
        trainer.test_loader = loader
        assert trainer.test() == logs["test"][name]


def test_the_hooks_of_each_set_come_in_the_known_order():
    tracer = Tracer()
    Several({**QUIET, "num_epochs": 1}, [tracer]).run()
    tests = [one for one in tracer.trace if "test" in one]
    one_set = ["on_test_begin()", *(f"on_test_summary(0, {b})" for b in range(3)), "on_test_end()"]
    assert tests[:5] == one_set
    large = (f"on_test_summary(0, {b})" for b in range(8))
    assert tests[5:] == ["on_test_begin()", *large, "on_test_end()"]


def test_a_users_callback_reads_and_writes_a_set_as_if_it_were_alone():
    seen = []

    class Mine(Tracer):
        def on_test_end(self, logs: Any = None) -> None:
            seen.append(logs["test"]["loss"])
            logs["test"]["mine"] = 1.0

    logs = Several({**QUIET, "num_epochs": 1}, [LossesRecorder(), Mine()]).run()
    assert seen == [logs["test"]["small"]["loss"], logs["test"]["large"]["loss"]]
    assert logs["test"]["large"]["mine"] == 1.0


def test_the_first_set_decides_unless_another_is_named(tmp_path):
    logs = Several(QUIET, [LossesRecorder(), AccuracyRecorder()]).run()
    assert find_metric(logs, "Acc") == logs["test"]["small"]["Acc"]
    assert find_metric(logs, "large/loss") == logs["test"]["large"]["loss"]
    assert find_metric(logs, "large/none") is None
    for indicator in ("Acc", "large/Acc"):
        folder = tmp_path / indicator
        trainer = Several(QUIET, [LossesRecorder(), AccuracyRecorder()])
        saver = ModelCheckpoint(
            trainer.model, trainer.optimizer, model_dir=folder, epochs=2, indicator=indicator
        )
        trainer.callbacks.append(saver)
        logs = trainer.run()
        assert saver.monitor.best == find_metric(logs, indicator)


def test_csv_jsonl_and_tensorboard_tell_the_sets_apart(tmp_path):
    logs = Several(
        QUIET, [LossesRecorder(), AccuracyRecorder(), LogHistory(tmp_path, pictures=False)]
    ).run()
    with (tmp_path / "results.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert list(last) == [
        *("epoch", "train-loss", "test-small/loss", "test-large/loss"),
        *("train-Acc", "test-small/Acc", "test-large/Acc"),
    ]
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["test"] == logs["test"]
    for name, figures in logs["test"].items():
        assert float(last[f"test-{name}/loss"]) == pytest.approx(figures["loss"], rel=1e-5)
        found = scalars(tmp_path / "test_loss_epoch" / name)["test_loss_epoch"]
        assert found[-1] == pytest.approx(figures["loss"])


def test_dicts_of_losses_of_several_sets_have_folders_of_their_own(tmp_path):
    class Multi(Several):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, {"box": loss, "cls": 2 * loss}

    logs = Multi(QUIET, [MultiLossesRecorder(), LogHistory(tmp_path, pictures=False)]).run()
    found = scalars(tmp_path / "test_loss_epoch" / "large" / "cls")["test_loss_epoch"]
    assert found[-1] == pytest.approx(logs["test"]["large"]["loss"]["cls"])


def test_the_summary_and_the_confusion_matrices_name_the_sets(tmp_path, caplog):
    recorder = AccuracyRecorder(confusion_matrix=tmp_path / "matrix")
    with caplog.at_level("INFO", logger="basetrainer"):
        Several(QUIET, [LossesRecorder(), recorder, LogHistory(tmp_path, pictures=False)]).run()
    line = next(one for one in caplog.messages if one.startswith("epoch 1/2"))
    assert "| test small loss " in line
    assert "| test large loss " in line
    assert {path.parent.name for path in (tmp_path / "matrix").rglob("*.csv")} == {"small", "large"}
    assert [int(one.sum()) for one in recorder.matrices.values()] == [12, 30]
    assert recorder.matrix is recorder.matrices["small"]


def test_epochs_without_an_evaluation_have_no_sets():
    tracer = Tracer()
    cfg = {**QUIET, "num_epochs": 3, "test_every": 3}
    logs = Several(cfg, [tracer, LossesRecorder()]).run()
    assert tracer.trace.count("on_test_begin()") == 4  # twice none, then two sets
    assert set(logs["test"]) == {"small", "large"}


@pytest.mark.parametrize(("sets", "message"), [({}, "without any"), ({"a/b": []}, "slashes")])
def test_an_impossible_mapping_is_refused(sets, message):
    class Wrong(TinyTrainer):
        def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return sets

    with pytest.raises(ConfigError, match=message):
        Wrong(QUIET)
