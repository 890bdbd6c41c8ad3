"""ModelCheckpoint: file names, contents, what is best, what is never deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.errors import CheckpointError, ConfigError
from tests.tiny import TinyTrainer, weights

QUIET = {"progress": False}


class Figures(Callback):
    """Writes given figures as the test's, epoch by epoch."""

    def __init__(self, values: list[float | None], name: str = "Acc") -> None:
        super().__init__()
        self.values = values
        self.name = name
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_test_end(self, logs: Any = None) -> None:
        value = self.values[self.epoch]
        if value is not None:
            logs.setdefault("test", {})[self.name] = value


class Saving(TinyTrainer):
    """Ends its callbacks with a ModelCheckpoint."""

    def __init__(self, folder: Path, values: list[float | None], **options: Any) -> None:
        self.folder = folder
        self.options = {"indicator": "Acc", **options}
        super().__init__({**QUIET, "num_epochs": len(values)}, [Figures(values)])

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        self.saver = ModelCheckpoint(
            model=self.model,
            optimizer=self.optimizer,
            model_dir=self.folder,
            epochs=self.num_epochs,
            **self.options,
        )
        return [*self.given_callbacks, self.saver]


def run(folder: Path, values: list[float | None], **options: Any) -> list[str]:
    Saving(folder, values, **options).run()
    return sorted(path.name for path in folder.glob("*.pth"))


def test_start_save_zero_keeps_the_best_model_alone(tmp_path):
    assert run(tmp_path, [50.0, 70.0, 60.0], start_save=0) == ["best_model_001_70.0000.pth"]


def test_default_keeps_latest_best_optimizer_and_the_last_epochs(tmp_path):
    assert run(tmp_path, [1.0, 3.0, 2.0, 1.5], model_nums=2) == [
        "best_model_001_3.0000.pth",
        "latest_model_003_1.5000.pth",
        "model_002_2.0000.pth",
        "model_003_1.5000.pth",
        "model_optimizer.pth",
    ]


def test_start_save_keeps_every_epoch_from_there_on(tmp_path):
    names = run(tmp_path, [1.0, 2.0, 3.0], start_save=1)
    assert [name for name in names if name.startswith("model_0")] == [
        "model_001_2.0000.pth",
        "model_002_3.0000.pth",
    ]


def test_without_a_figure_the_names_end_at_the_epoch(tmp_path):
    assert run(tmp_path, [None, None], indicator="", model_nums=1) == [
        "latest_model_001.pth",
        "model_001.pth",
        "model_optimizer.pth",
    ]


@pytest.mark.filterwarnings("ignore:inverse= of ModelCheckpoint:DeprecationWarning")
def test_inverse_and_mode_min_mean_smaller_is_better(tmp_path):
    kinds: list[dict[str, Any]] = [{"inverse": True}, {"mode": "min"}]
    for number, options in enumerate(kinds):
        names = run(tmp_path / str(number), [3.0, 1.0, 2.0], start_save=0, **options)
        assert names == ["best_model_001_1.0000.pth"]


def test_ties_keep_the_earlier_file_and_zero_and_negative_figures_count(tmp_path):
    assert run(tmp_path / "a", [2.0, 2.0], start_save=0) == ["best_model_000_2.0000.pth"]
    assert run(tmp_path / "b", [0.0, 0.0], start_save=0) == ["best_model_000_0.0000.pth"]
    assert run(tmp_path / "c", [-3.0, -1.0], start_save=0) == ["best_model_001_-1.0000.pth"]


def test_nan_is_never_best(tmp_path):
    nan = float("nan")
    assert run(tmp_path, [nan, 1.0, nan, 0.5], start_save=0) == ["best_model_001_1.0000.pth"]


class Poison(Callback):
    """Makes the weights NaN after the last epoch's training; a figure may not show it."""

    def on_test_begin(self, logs: Any = None) -> None:
        assert self.engine is not None
        if self.engine.epoch == 1:
            self.engine.model.weight.data.fill_(float("nan"))


def test_weights_of_nan_are_never_best_whatever_their_figure(tmp_path, caplog):
    trainer = Saving(tmp_path, [0.5, 1.0], start_save=0)
    trainer.callbacks = [Poison(), *trainer.callbacks]
    trainer.run()
    assert [path.name for path in tmp_path.glob("best_*.pth")] == ["best_model_000_0.5000.pth"]
    assert "the weights of epoch 2 are not saved: they are NaN or infinite" in caplog.text


def test_weights_of_nan_replace_no_file_whatever_the_engine_is_told_to_do(tmp_path, caplog):
    class Spoil(Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            assert self.engine is not None
            if self.engine.epoch == 1:
                self.engine.model.weight.data.fill_(float("nan"))

    trainer = Saving(tmp_path, [0.5, 1.0])
    trainer.callbacks = [Spoil(), *trainer.callbacks]
    trainer.run()
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [
        "best_model_000_0.5000.pth",
        "latest_model_000_0.5000.pth",
        "model_000_0.5000.pth",
        "model_optimizer.pth",
    ]
    assert torch.load(tmp_path / "model_optimizer.pth", weights_only=True)["epoch"] == 0
    assert caplog.text.count("the weights of epoch 2 are not saved") == 1


def test_what_the_engine_has_need_not_be_given():
    class Short(Saving):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            self.saver = ModelCheckpoint(**self.options)
            return [*self.given_callbacks, self.saver]

    trainer = Short(Path(), [1.0, 2.0, 3.0, 1.5], model_nums=2)
    trainer.cfg["work_dir"] = "here"
    assert trainer.saver.best_model is None
    trainer.run()
    assert sorted(path.name for path in Path("here/model").glob("*.pth")) == [
        "best_model_002_3.0000.pth",
        "latest_model_003_1.5000.pth",
        "model_002_3.0000.pth",
        "model_003_1.5000.pth",
        "model_optimizer.pth",
    ]
    saved = torch.load("here/model/model_optimizer.pth", weights_only=True)
    assert saved["optimizer"]["state"].keys() == {0, 1}
    trainer = Short(Path(), [1.0])
    trainer.cfg["model_dir"] = "there"
    trainer.run()
    assert Path("there/model_optimizer.pth").is_file()


def test_without_a_folder_it_says_where_to_name_one():
    class Nowhere(Saving):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            return [ModelCheckpoint()]

    with pytest.raises(ConfigError, match="or set model_dir or work_dir in"):
        Nowhere(Path(), [1.0]).run()


def test_best_save_waits_for_its_epoch(tmp_path):
    names = run(tmp_path, [9.0, 1.0, 2.0], start_save=0, best_save=1)
    assert names == ["best_model_002_2.0000.pth"]


def test_a_rerun_in_the_same_folder_never_deletes_a_better_model(tmp_path):
    run(tmp_path, [90.0], start_save=0)
    assert run(tmp_path, [50.0, 60.0], start_save=0) == [
        "best_model_000_90.0000.pth",
        "best_model_001_60.0000.pth",
    ]
    assert run(tmp_path, [95.0], start_save=0) == ["best_model_000_95.0000.pth"]


def test_files_are_plain_state_dicts_that_load_into_a_plain_model(tmp_path):
    trainer = Saving(tmp_path, [1.0])
    trainer.run()
    plain = nn.Linear(3, 3)
    for name in ("best_model_000_1.0000.pth", "latest_model_000_1.0000.pth"):
        plain.load_state_dict(torch.load(tmp_path / name, weights_only=True))
        assert torch.equal(plain.weight, trainer.model.weight)
    saved = torch.load(tmp_path / "model_optimizer.pth", weights_only=True)
    assert set(saved) == {"epoch", "model", "optimizer"}
    assert saved["epoch"] == 0


def test_figures_of_the_training_do_not_stand_in_for_an_evaluation_that_was_not_made(tmp_path):
    class Train(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            logs["train"] = {"Acc": 99.0}

    trainer = Saving(tmp_path, [None, 5.0], start_save=0)
    trainer.callbacks.insert(0, Train())
    trainer.run()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["best_model_001_5.0000.pth"]


def test_an_unknown_indicator_is_said_with_the_nearest_name(tmp_path, caplog):
    names = run(tmp_path, [1.0], indicator="Accc")
    assert "Did you mean 'Acc'" in caplog.text
    assert not any(name.startswith("best") for name in names)


def test_a_callback_behind_it_is_warned_of_if_it_does_something_at_an_epochs_end(tmp_path, caplog):
    class Late(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            pass

    trainer = Saving(tmp_path, [1.0])
    trainer.callbacks.reverse()  # Figures comes last: it writes in on_test_end, which is early
    trainer.run()
    assert "should be the last callback" not in caplog.text
    trainer = Saving(tmp_path, [1.0])
    trainer.callbacks.append(Late())
    trainer.run()
    assert "should be the last callback: what Late does" in caplog.text


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    trainer = Saving(tmp_path, [1.0, 2.0])
    real = torch.save

    def failing(state: Any, file: Any) -> None:
        real(state, file)
        if trainer.epoch == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(OSError, match=r"model_optimizer\.pth"):
        trainer.run()
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [
        "best_model_000_1.0000.pth",
        "latest_model_000_1.0000.pth",
        "model_000_1.0000.pth",
        "model_optimizer.pth",
    ]
    assert torch.load(tmp_path / "model_optimizer.pth", weights_only=True)["epoch"] == 0


@pytest.mark.parametrize("as_folder", [True, False])
def test_resume_model_goes_on_after_the_last_finished_epoch(tmp_path, as_folder):
    first = Saving(tmp_path, [1.0, 2.0])
    first.run()
    second = Saving(tmp_path / "other", [1.0, 2.0, 3.0])
    source = tmp_path if as_folder else tmp_path / "model_optimizer.pth"
    model, optimizer, start = second.saver.resume_model(second.model, second.optimizer, source)
    assert start == 2
    assert torch.equal(weights(first), weights(second))
    assert optimizer is not None
    assert optimizer.state_dict()["state"].keys() == {0, 1}
    assert model is second.model
    second.start_epoch = start
    second.run()
    assert second.position.update == 3


def test_resume_model_takes_weights_alone_and_says_what_is_wrong(tmp_path, caplog):
    trainer = Saving(tmp_path, [1.0])
    trainer.run()
    best = tmp_path / "best_model_000_1.0000.pth"
    assert trainer.saver.resume_model(trainer.model, None, best)[2] == 0
    assert trainer.saver.resume_model(trainer.model, None, None)[2] == 0
    assert trainer.saver.resume_model(trainer.model, None, tmp_path / "absent.pth")[2] == 0
    assert "absent.pth does not exist, so training starts at epoch 1" in caplog.text
    with pytest.raises(CheckpointError, match=r"weight.*\(3, 3\)|weight.*shape"):
        trainer.saver.resume_model(nn.Linear(3, 5), None, best)
    best.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be read as"):
        trainer.saver.resume_model(trainer.model, None, best)


def test_a_run_stopped_within_an_epoch_leaves_its_weights(tmp_path):
    class Stopper(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.engine is not None and self.engine.epoch == 1:
                self.engine.stop("enough")

    trainer = Saving(tmp_path, [1.0, 2.0])
    trainer.callbacks.insert(0, Stopper())
    trainer.run()
    state = torch.load(tmp_path / "latest_model_001.pth", weights_only=True)
    assert torch.equal(state["weight"], trainer.model.weight)
    assert torch.load(tmp_path / "model_optimizer.pth", weights_only=True)["epoch"] == 0


def test_resume_model_takes_back_several_optimizers(tmp_path):
    trainer = Saving(tmp_path, [1.0])
    trainer.run()
    saved = torch.load(tmp_path / "model_optimizer.pth", weights_only=True)
    state = saved["optimizer"]
    for several, stored in (
        ({"a": trainer.optimizer}, {"a": state}),
        ([trainer.optimizer], [state]),
    ):
        torch.save({**saved, "optimizer": stored}, tmp_path / "several.pth")
        path = tmp_path / "several.pth"
        assert trainer.saver.resume_model(trainer.model, several, path)[2] == 1
    with pytest.raises(CheckpointError, match="does not fit the optimizer"):
        trainer.saver.resume_model(trainer.model, {"b": trainer.optimizer}, path)
