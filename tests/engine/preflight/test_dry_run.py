"""dry_run(): it finds what would go wrong, and leaves everything as it was."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import basetrainer as bt
from basetrainer.engine.launch import launch
from basetrainer.engine.preflight.dry_run import dry_run
from basetrainer.errors import DryRunError
from basetrainer.utils import log
from tests.fixtures.planted_faults import FAULTS, SETTINGS, Folders, table
from tests.tiny import TinyTrainer

PAGE = Path(bt.__file__).parents[1] / "docs" / "dry_run.md"


class Whole(Folders):
    """With everything that writes."""

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        log.set_logger(None, "info", f"{cfg['log_dir']}/train.log")
        callbacks = super().build_callbacks(cfg, **kwargs)
        return [*callbacks[:-1], bt.LogHistory(cfg["log_dir"]), callbacks[-1]]


def digest(folder: Path) -> str:
    """A hash of all names and contents in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def test_every_planted_fault_is_found_and_told_as_the_page_says():
    rows = table()
    assert len(rows) == len(FAULTS) >= 15
    for row, (name, fault) in zip(rows, FAULTS.items(), strict=True):
        assert fault.says in row, f"{name}: {row}"
    told = re.findall(r"^\| .* \|$", PAGE.read_text("utf-8"), re.M)
    assert [one.split("|")[1] for one in told[-len(rows) :]] == [one.split("|")[1] for one in rows]
    # Other versions of Python and torch have other words for their own errors.
    ours = [row for row in rows if "Error: " not in row]
    assert len(ours) > 10
    assert set(ours) <= set(told)


def test_a_trainer_without_fault_has_no_problem_and_no_warning():
    report = dry_run(Folders, {**SETTINGS, "work_dir": "runs"})
    assert (report.problems, report.warnings) == ([], [])
    assert report.checked() is report
    expected = ["build", "train data", "test data", "train", "test", "monitor", "pictures"]
    assert report.lines["monitor"].startswith("Acc: larger is better")
    assert list(report.lines) == [*expected, "checkpoint", "resume", "estimate"]
    assert "2 updates" in report.lines["train"]
    assert "went on in epoch 2" in report.lines["resume"]
    assert not Path("runs").exists()


def test_the_run_that_is_there_stays_as_it_is_to_the_last_byte_and_goes_on_alike():
    cfg = {**SETTINGS, "num_epochs": 1, "work_dir": "runs", "resume": "auto"}
    Folders(dict(cfg)).run()
    before = digest(Path("runs"))
    trainer = Folders({**cfg, "num_epochs": 2})
    weights = trainer.model.weight.clone()
    after_build, state = digest(Path("runs")), torch.get_rng_state()
    assert trainer.dry_run().problems == []
    assert digest(Path("runs")) == after_build
    assert before == after_build
    assert torch.equal(trainer.model.weight, weights)
    assert torch.equal(torch.get_rng_state(), state)
    assert trainer.position.epoch == 0
    trainer.run()
    assert trainer.position.epoch == 2


@pytest.mark.usefixtures("restored_logger")
def test_it_draws_pictures_and_leaves_the_log_to_those_who_had_it(capsys):
    pytest.importorskip("matplotlib")
    logger = log.set_logger(None, "info", "own.log")
    report = dry_run(Whole, {**SETTINGS, "work_dir": "runs"})
    assert repr(report) == str(report)
    assert "dry run of" not in Path("own.log").read_text()
    report.checked()
    logger.info("afterwards")
    assert report.lines["pictures"] == "confusion_matrix.png, curves.png"
    lines = Path("own.log").read_text().splitlines()
    assert lines[-1].endswith("| afterwards")
    assert "dry run of Whole: 0 problems, 0 warnings" in lines[0]
    assert not Path("runs").exists()
    assert "epoch 0" not in capsys.readouterr().err


def test_the_estimate_counts_epochs_steps_and_what_stays_on_the_disk():
    cfg = {**SETTINGS, "num_epochs": 8, "work_dir": "runs", "keep_last": 3}
    report = dry_run(Folders, cfg)
    found = report.estimate
    assert found is not None
    assert (found.num_epochs, found.num_steps) == (8, 3)
    assert 0 < found.seconds < 60
    Folders({**cfg, "resume": "auto"}).run()
    files = {one.stat().st_ino: one.stat().st_size for one in Path("runs").rglob("*")}
    assert 0.7 < found.disk / sum(files.values()) < 2.0


def test_several_problems_are_one_error_with_the_exit_code_of_a_wrong_setting():
    with pytest.raises(DryRunError, match="no weight has changed") as caught:
        dry_run(Folders, {**SETTINGS, "work_dir": "runs", "lr": 0.0}).checked()
    assert caught.value.exit_code == 2


def test_a_callback_that_takes_its_folder_from_elsewhere_is_not_run():
    class Elsewhere(Folders):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            Path("mine").mkdir()
            return [bt.ModelCheckpoint(self.model, self.optimizer, "mine/model")]

    (problem,) = dry_run(Elsewhere, {**SETTINGS, "work_dir": "runs"}).problems
    assert "ModelCheckpoint writes to 'mine/model', which is not taken from cfg" in problem
    assert list(Path("mine").rglob("*.pth")) == []


def test_layers_that_do_not_learn_are_a_warning_with_their_names():
    class Idle(torch.nn.Linear):
        def __init__(self, size: int, classes: int) -> None:
            super().__init__(size, classes)
            self.idle = torch.nn.Linear(1, 1)

    class Trainer(Folders):
        parts = {"model": Idle}  # noqa: RUF012

    report = dry_run(Trainer, {**SETTINGS, "work_dir": "runs"})
    (warning,) = report.warnings
    assert "2 weights have not changed: idle.weight, idle.bias" in warning


def test_a_metric_that_is_a_tensor_of_nan_is_a_problem():
    class Spoils(bt.Callback):
        def on_test_end(self, logs: Any = None) -> None:
            logs["test"]["IoU"] = {"circle": torch.tensor(float("nan"))}

    class Trainer(Folders):
        parts = {"callback": Spoils}  # noqa: RUF012

    (problem,) = dry_run(Trainer, {**SETTINGS, "work_dir": "runs"}).problems
    assert "the test figure IoU/circle is nan" in problem


@pytest.mark.parametrize("cfg", [None, {"num_epochs": 3}])
def test_settings_without_a_folder_are_given_one(cfg):
    before = sorted(Path.cwd().iterdir())
    report = dry_run(lambda cfg: TinyTrainer(cfg), cfg)
    assert report.problems == []
    assert sorted(Path.cwd().iterdir()) == before


def rehearse(cfg: dict[str, Any]) -> Any:
    return dry_run(Folders, cfg)


@pytest.mark.distributed
def test_two_processes_try_the_run_in_one_folder_and_a_problem_ends_both(capfd):
    cfg = {**SETTINGS, "work_dir": "runs", "batch_size": 2, "gpu_id": [0, 1]}
    report = launch(rehearse, 2, args=(cfg,), start_method="fork")
    assert report.problems == []
    assert "2 x cpu" in report.lines["build"]
    assert "went on in epoch 2" in report.lines["resume"]
    assert not Path("runs").exists()
    with pytest.raises(SystemExit):
        launch(rehearse, 2, args=({**cfg, "num_classes": 2},), start_method="fork")
    assert "out of bounds" in capfd.readouterr().err


class Normed(TinyTrainer):
    """Batches of 4, and BatchNorm, which wants two samples at least."""

    count = 13
    drop_last = False

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        points, labels = torch.randn(self.count, 3), torch.zeros(self.count).long()
        data = torch.utils.data.TensorDataset(points, labels)
        return self.build_dataloader(data, 4, 0, drop_last=self.drop_last)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        layers = torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)
        return self.build_model_parallel(torch.nn.Sequential(*layers))


@pytest.mark.parametrize(
    ("count", "drop_last", "is_told"),
    [(13, False, True), (13, True, False), (14, False, False), (12, False, False)],
)
def test_a_last_batch_that_the_network_cannot_take_is_found(count, drop_last, is_told):
    class Case(Normed):
        pass

    Case.count, Case.drop_last = count, drop_last
    report = dry_run(lambda cfg: Case(cfg, tests=False), {"progress": False})
    found = [one for one in report.problems if "last batch of an epoch, 1 sample" in one]
    assert len(found) == is_told
    assert all("drop_last=True" in one for one in found)
