"""Which epoch is the best, all the way: modes, early stopping, resume, two savers, trainer.best."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from basetrainer._monitor import Best
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.early_stop import EarlyStop
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.manifest import Manifest
from basetrainer.checkpoint.run_folder import MANIFEST, checkpoint_paths
from basetrainer.engine.base import Base
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError
from basetrainer.scheduler.plateau import PlateauLR
from tests.tiny import TinyTrainer

CFG = {"progress": False, "work_dir": "run", "resume": "auto"}


class Metrics(Callback):
    """Writes given metrics as the test's, epoch by epoch."""

    def __init__(self, **values: list[Any]) -> None:
        super().__init__()
        self.values = values

    def on_test_end(self, logs: Any = None) -> None:
        assert self.engine is not None
        epoch = self.engine.epoch
        logs.setdefault("test", {}).update({key: one[epoch] for key, one in self.values.items()})


class Run(TinyTrainer):
    """Has the metrics, and callbacks that need no argument of the engine's."""

    def __init__(
        self, metrics: dict[str, list[Any]], *callbacks: Base, cfg: Any = None, **parts: Any
    ) -> None:
        num_epochs = len(next(iter(metrics.values())))
        super().__init__(
            {**CFG, "num_epochs": num_epochs, **(cfg or {})},
            [Metrics(**metrics), *callbacks],
            **parts,
        )


def saved(folder: str = "run/model") -> list[str]:
    return sorted(path.name for path in Path(folder).glob("best_*"))


RISING, FALLING = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("name", "options", "best"),
    [
        ("MAE", {}, 1.0),
        ("val_loss/total", {}, 1.0),
        ("fig", {}, 3.0),
        ("fig", {"mode": "min"}, 1.0),
        ("MAE", {"mode": "max"}, 3.0),
    ],
)
def test_the_mode_is_what_was_given_or_what_the_name_says(name, options, best, caplog):
    caplog.set_level(logging.INFO)
    saver = ModelCheckpoint(indicator=name, start_save=0, **options)
    trainer = Run({name: FALLING}, saver)
    trainer.run()
    epoch = FALLING.index(best)
    path = Path("run/model", f"best_model_{epoch:03d}_{best:.4f}.pth")
    assert trainer.best == Best(name, best, epoch, path)
    assert [path.name] == saved()
    said = [line for line in caplog.messages if line.startswith("monitoring")]
    assert said == [f"monitoring {saver.monitor}"]


@pytest.mark.filterwarnings("ignore:inverse= of ModelCheckpoint:DeprecationWarning")
def test_inverse_false_is_larger_and_must_not_contradict_the_mode():
    trainer = Run({"loss": FALLING}, ModelCheckpoint(indicator="loss", inverse=False))
    trainer.run()
    assert trainer.best is not None
    assert trainer.best.value == 3.0
    with pytest.raises(ConfigError, match="contradict"):
        ModelCheckpoint(indicator="loss", inverse=False, mode="min")


def test_early_stopping_does_not_change_what_best_means(caplog):
    caplog.set_level(logging.INFO)
    metrics = {"Acc": [50.0, 90.0, 60.0, 70.0], "loss": [4.0, 3.0, 2.0, 1.0]}
    history, saver = LogHistory("run/log"), ModelCheckpoint(indicator="Acc")
    cfg = {"early_stop": 3, "early_stop_indicator": "loss", "keep_last": 1}
    trainer = Run(metrics, history, saver, cfg=cfg)
    trainer.run()
    assert trainer.best is not None
    assert (trainer.best.metric, trainer.best.value, trainer.best.epoch) == ("Acc", 90.0, 1)
    starred = [line for line in caplog.messages if line.startswith("epoch") and "*" in line]
    assert [line.split()[1].split("/")[0] for line in starred] == ["1", "2"]
    assert "best Acc 90.0, in epoch 2" in caplog.messages
    assert "early_stop: monitoring loss: smaller is better" in caplog.text
    manifests = [
        Manifest.from_bytes((path / MANIFEST).read_bytes())
        for path in checkpoint_paths(Path("run/checkpoints"))
    ]
    assert [(one.metric, one.figure, one.larger_is_better) for one in manifests] == [
        ("Acc", 70.0, True),
        ("Acc", 90.0, True),
    ]


def test_early_stopping_alone_decides_which_epoch_is_best():
    trainer = Run({"loss": [3.0, 1.0, 2.0]}, EarlyStop(3, "loss"))
    trainer.run()
    assert trainer.best == Best("loss", 1.0, 1, None)


def test_early_stopping_takes_the_mode_of_the_same_metric_and_warns_of_another(caplog):
    stop = EarlyStop(1, "fig")
    Run({"fig": FALLING}, stop, ModelCheckpoint(indicator="fig", mode="min")).run()
    assert (stop.monitor.mode, stop.num_bad, caplog.text) == ("min", 0, "")
    stop = EarlyStop(5, "fig", "max")
    cfg = {"work_dir": "other"}
    Run({"fig": FALLING}, stop, ModelCheckpoint(indicator="fig", mode="min"), cfg=cfg).run()
    assert stop.monitor.mode == "max"
    assert "early_stop takes fig: larger is better, but ModelCheckpoint takes fig: smaller" in (
        caplog.text
    )


def test_early_stopping_wants_a_least_change_if_it_is_told_to():
    values = [1.0, 1.05, 1.09, 1.5]
    trainer = Run({"Acc": values}, EarlyStop(2, "Acc", min_delta=0.1), cfg={"resume": "never"})
    trainer.run()
    assert trainer.epoch == 2
    assert trainer.stop_reason == "Acc did not improve in 2 evaluations (best 1 in epoch 1)"


@pytest.mark.parametrize("options", [{"indicator": "fig"}, {"indicator": "Acc", "mode": "min"}])
def test_after_a_resume_with_another_metric_or_mode_the_best_begins_anew(options, caplog):
    metrics: dict[str, list[Any]] = {"Acc": [90.0, 80.0, 85.0], "fig": [0.1, 0.2, 0.3]}
    first = Run({name: one[:1] for name, one in metrics.items()}, ModelCheckpoint(indicator="Acc"))
    first.run()
    caplog.clear()
    saver = ModelCheckpoint(**options)
    second = Run(metrics, LogHistory("run/log"), saver, cfg={"early_stop": 2, "keep_last": 1})
    second.run()
    name = options["indicator"]
    said = [line for line in caplog.messages if "The best begins anew" in line]
    assert said == [
        "ModelCheckpoint: the best so far was of Acc: larger is better. The best begins anew, with "
        f"{name}: {'smaller' if 'mode' in options else 'larger'} is better"
    ]
    assert second.best is not None
    best = {"fig": (0.3, 2), "Acc": (80.0, 1)}[name]
    assert (second.best.metric, second.best.value, second.best.epoch) == (name, *best)
    assert "best_model_000_90.0000.pth" in saved()  # that of the other metric is left alone
    assert second.position.epoch == 3
    assert second.best.file is not None
    assert (
        json.loads(Path("run/model/weights.json").read_text())["weights"] == second.best.file.name
    )


def test_the_best_of_a_run_that_goes_on_is_that_of_all_of_it():
    values = [1.0, 3.0, 2.0]
    Run({"Acc": values[:2]}, ModelCheckpoint(indicator="Acc")).run()
    second = Run({"Acc": values}, ModelCheckpoint(indicator="Acc"))
    second.run()
    assert second.best == Best("Acc", 3.0, 1, Path("run/model/best_model_001_3.0000.pth"))
    assert saved() == ["best_model_001_3.0000.pth"]


def test_states_without_the_name_of_a_metric_are_taken():
    saver, stop = ModelCheckpoint(model_dir="model", indicator="Acc"), EarlyStop(3, "Acc")
    state = {"best": 90.0, "best_epoch": 4}
    saver.load_state_dict({**state, "own": {"best_model": "best_model_004_90.0000.pth"}})
    stop.load_state_dict({**state, "num_bad": 2})
    assert (saver.monitor.best, stop.monitor.best, stop.num_bad) == (90.0, 90.0, 2)
    assert saver.best_model == Path("model/best_model_004_90.0000.pth")


def two(**options: Any) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    return (
        ModelCheckpoint(indicator="high", model_nums=1, **options),
        ModelCheckpoint(indicator="low", mode="min", model_nums=1, **options),
    )


def test_two_savers_in_one_folder_leave_each_others_files_alone(caplog):
    metrics: dict[str, list[Any]] = {"high": [50.0, 90.0, 60.0, 95.0], "low": [3.0, 2.0, 2.5, 2.4]}
    savers = two()
    trainer = Run({name: one[:3] for name, one in metrics.items()}, *savers)
    trainer.run()
    assert saved() == ["best_model_001_2.0000.pth", "best_model_001_90.0000.pth"]
    savers = two()
    trainer = Run(metrics, *savers)
    trainer.run()
    assert saved() == ["best_model_001_2.0000.pth", "best_model_003_95.0000.pth"]
    assert [one.best_model and one.best_model.name for one in savers] == saved()[::-1]
    latest = sorted(path.name for path in Path("run/model").glob("latest_*"))
    assert latest == ["latest_model_003_2.4000.pth", "latest_model_003_95.0000.pth"]
    described = json.loads(Path("run/model/weights.json").read_text())
    assert (described["indicator"], described["weights"]) == ("high", "best_model_003_95.0000.pth")
    assert "should be the last" not in caplog.text
    assert trainer.best is not None
    assert trainer.best.metric == "high"


def test_two_savers_whose_files_have_the_same_name_keep_it_as_long_as_one_wants_it():
    metrics: dict[str, list[Any]] = {"high": [2.0, 3.0], "low": [2.0, 4.0]}
    first, second = two(start_save=0)
    Run(metrics, first, second).run()
    assert saved() == ["best_model_000_2.0000.pth", "best_model_001_3.0000.pth"]
    assert second.best_model == Path("run/model/best_model_000_2.0000.pth")


def test_two_savers_in_two_folders_both_get_the_state():
    savers = [ModelCheckpoint(model_dir=f"run/{name}", indicator="Acc") for name in "ab"]
    Run({"Acc": RISING}, *savers).run()
    assert all(Path("run", name, "model_optimizer.pth").is_file() for name in "ab")


def test_a_rerun_by_another_metric_leaves_the_best_of_the_earlier_run_alone():
    for metrics in ({"Acc": [90.0]}, {"loss": [0.5]}, {"loss": [0.25]}, {"Acc": [95.0]}):
        (name,) = metrics
        cfg = {"resume": "never"}
        Run(metrics, ModelCheckpoint(indicator=name, start_save=0), cfg=cfg).run()
    assert saved() == [  # 0.5 was worse than 0.25, by the same metric
        "best_model_000_0.2500.pth",
        "best_model_000_90.0000.pth",
        "best_model_000_95.0000.pth",
    ]


def test_a_rerun_does_not_remove_what_looks_alike_in_the_names():
    for value in (0.50004, 0.50002, 0.49996):
        cfg = {"resume": "never"}
        saver = ModelCheckpoint(indicator="Acc", start_save=0)
        Run({"Acc": [0.1] * round(value * 1e5 - 49995) + [value]}, saver, cfg=cfg).run()
    assert len(saved()) == 3


@pytest.mark.parametrize("value", [None, [1.0], "high"])
def test_a_metric_that_is_no_number_is_named_not_guessed(value, caplog):
    Run({"fig": [value]}, ModelCheckpoint(indicator="fig")).run()
    assert "ModelCheckpoint finds no best model: the metric 'fig' is" in caplog.text
    assert "Did you mean" not in caplog.text
    assert saved() == []


def test_a_plateau_does_not_take_a_metric_of_the_training_for_one_of_the_tests():
    trainer = TinyTrainer({**CFG, "num_epochs": 1})

    class Training(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            logs["train"] = {"loss": 1.0}

    plateau = PlateauLR(trainer.optimizer, 1, 3, indicator="loss")
    trainer.callbacks = [Training(), Metrics(Acc=[1.0]), plateau]
    with pytest.raises(ConfigError, match=r"no metric is called 'loss'.*Known: Acc"):
        trainer.run()


def test_a_plateau_forgets_the_best_of_another_metric(caplog):
    def plateau(indicator: str) -> PlateauLR:
        optimizer = TinyTrainer({**CFG, "num_epochs": 1}).optimizer
        return PlateauLR(optimizer, 9, 3, 0.1, indicator=indicator, patience=0, factor=0.5)

    first = plateau("Acc")
    for epoch in range(2):
        first.judge(90.0, epoch)
    second = plateau("score")
    second.load_state_dict(first.state_dict())
    assert "plateau: the best so far was of Acc: larger is better" in caplog.text
    second.judge(0.5, 2)
    assert second.lr_at(3) == pytest.approx(0.05)  # lowered once, by the first
    old = {"scale": 0.5, "best": float("inf"), "num_bad": 0, "cooldown_left": 0}
    third = plateau("loss")
    third.load_state_dict(old)  # as written before states had names
    third.judge(2.0, 3)
    assert third.lr_at(4) == pytest.approx(0.05)


def best_of_two_processes(folder: str) -> list[Any]:
    """Return what each process says is the best; the metric is there on both."""
    saver = ModelCheckpoint(model_dir=f"{folder}/model", indicator="Acc", start_save=0)
    trainer = Run({"Acc": [1.0, 3.0, 2.0]}, saver, cfg={"work_dir": folder})
    trainer.run()
    best = trainer.best
    assert best is not None
    return trainer.context.gather((best.metric, best.value, best.epoch, str(best.file)))


@pytest.mark.distributed
def test_every_process_knows_the_best(tmp_path):
    found = launch(best_of_two_processes, 2, args=(str(tmp_path),), start_method="fork")
    file = tmp_path / "model" / "best_model_001_3.0000.pth"
    assert found == [("Acc", 3.0, 1, str(file))] * 2
    assert [path.name for path in (tmp_path / "model").glob("*.pth")] == [file.name]
