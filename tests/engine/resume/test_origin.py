"""A run that goes on: same bits, right settings, nothing lost."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.early_stop import EarlyStop
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.run_folder import checkpoint_paths
from basetrainer.checkpoint.tree import snapshot
from basetrainer.engine.resume.state import collect
from basetrainer.errors import CheckpointError, ConfigError, UsageError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.scheduler.build_scheduler import get_scheduler
from tests.tiny import StopAt, TinyTrainer, tiny_data, weights
from tests.trees import assert_same

CFG: dict[str, Any] = {
    "num_epochs": 3,
    "progress": False,
    "work_dir": "run",
    "resume": "auto",
    "log_freq": 2,
}


class Counter(Callback):
    """Counts since the epoch's begin, and draws there."""

    def __init__(self) -> None:
        super().__init__()
        self.count = torch.zeros(())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.count = torch.rand(())

    def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None) -> None:
        self.count += outputs.detach().sum()

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Trainer(TinyTrainer):
    """A net with dropout, two recorders of one class, and a schedule."""

    def __init__(self, cfg: Any, *extra: Callback, **parts: Any) -> None:
        self.extra = extra
        self.num_hooks = 0
        super().__init__(cfg, batch_size=2, **parts)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.Linear(8, 3))
        return self.build_model_parallel(net)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        schedule = {"num_warn_up": 1}
        return [
            LossesRecorder("loss"),
            LossesRecorder("again"),
            AccuracyRecorder(),
            Counter(),
            get_scheduler("cosine", self.optimizer, 0.1, 3, self.num_steps, **schedule),
            *self.extra,
            ModelCheckpoint(self.model, self.optimizer, Path(cfg["work_dir"], "model"), 3, -1),
        ]

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_batch_end(batch, logs)
        self.num_hooks += 1

    def state_dict(self) -> dict[str, Any]:
        return {"num_hooks": self.num_hooks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_hooks = state["num_hooks"]


def everything(trainer: TinyTrainer, logs: Any) -> Any:
    """All that a checkpoint would hold, but for who stopped the run; a copy."""
    tree = snapshot(collect(trainer, logs))
    for rank in tree.get("ranks", ()):  # only rank 0 has them
        rank["callbacks"].pop("StopAt", None)
    return tree


def run_in_pieces(cfg: dict[str, Any], *stops: int, **parts: Any) -> Any:
    for stop in stops:
        Trainer(cfg, StopAt(stop), **parts).run()
    trainer = Trainer(cfg, **parts)
    return everything(trainer, trainer.run())


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_steps": 4},
    "ema": {"ema_decay": 0.5},
    "fp16": {"amp": "fp16"},
    "in the background": {"async_save": True},
    "stream": {"steps_per_epoch": 4},
    "rare tests": {"test_every": 2},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_in_pieces_ends_with_the_same_bits(name):
    cfg = {**CFG, **SETTINGS[name]}
    whole = Trainer({**cfg, "work_dir": "whole"})
    expected = everything(whole, whole.run())
    # In the first epoch, twice in the second, and at its very end.
    found = run_in_pieces({**cfg, "work_dir": "pieces"}, 4, 4, 4)
    assert_same(found, expected)


def test_a_run_whose_loader_is_not_ours_goes_on_from_the_epochs_start(caplog):
    class Plain(Trainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return DataLoader(tiny_data(), 2, shuffle=True)

    caplog.set_level(logging.INFO)
    cfg = {**CFG, "save_every_updates": 1}
    whole = Plain({**cfg, "work_dir": "whole"})
    expected = everything(whole, whole.run())
    Plain(cfg, StopAt(8)).run()
    assert "from the epoch's start (the loader was not made by build_dataloader)" in caplog.text
    assert [path.name for path in checkpoint_paths(Path("run/checkpoints"))] == ["update-00000006"]
    again = Plain(cfg)
    assert_same(everything(again, again.run()), expected)


def test_a_finished_run_trains_nothing_and_has_its_figures(caplog):
    first = Trainer(CFG)
    logs = first.run()
    again = Trainer(CFG)
    assert again.run() == {**logs}
    assert "nothing to train: 3 of 3 epochs are done" in caplog.text
    assert torch.equal(weights(first), weights(again))


def test_a_finished_run_goes_on_when_there_are_more_epochs():
    Trainer(CFG).run()
    longer = Trainer({**CFG, "num_epochs": 5})
    longer.run()
    assert longer.position.update == 30


def test_a_run_that_was_stopped_for_good_stays_so_until_there_are_more_epochs(caplog):
    caplog.set_level(logging.INFO)
    cfg = {**CFG, "num_epochs": 30}

    def start(num_epochs: int) -> Trainer:
        stop = EarlyStop(1, "Acc", "min")  # the accuracy is never smaller than at first
        trainer = Trainer({**cfg, "num_epochs": num_epochs}, stop)
        trainer.run()
        return trainer

    first = start(30)
    assert first.position.epoch < 30
    assert start(30).position == first.position
    assert "the run had ended already: Acc did not improve" in caplog.text
    assert start(31).position.epoch == first.position.epoch + 1  # still no better


CHANGES: dict[str, Any] = {
    "lr": 0.5,
    "seed": 7,
    "accumulate_steps": 2,
    "scheduler": "poly",
    "ema_decay": 0.9,
}


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_setting_that_shapes_the_run_is_refused_with_both_values(key):
    Trainer(CFG, StopAt(4)).run()
    with pytest.raises(ConfigError) as caught:
        Trainer({**CFG, key: CHANGES[key]}).run()
    message = str(caught.value)
    assert f"{key}: " in message
    assert f"{CHANGES[key]!r} now" in message
    assert "resume: never" in message
    assert len(checkpoint_paths(Path("run/checkpoints"))) == 1


def test_other_data_are_refused():
    Trainer(CFG, StopAt(4)).run()
    with pytest.raises(ConfigError, match="the training data's num_samples: 12 then, 14 now"):
        Trainer(CFG, num_samples=14).run()


def test_settings_that_shape_nothing_may_change():
    Trainer(CFG, StopAt(4)).run()
    more = {"log_freq": 5, "note": "mine", "keep_last": 5, "save_every_updates": 3}
    trainer = Trainer({**CFG, **more})
    trainer.run()
    assert trainer.position.update == 18


def test_with_a_path_changes_are_applied_and_said_and_the_old_run_stays(caplog):
    Trainer({**CFG, "lr": 0.1}, StopAt(8)).run()
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    cfg = {**CFG, "work_dir": "other", "resume": "run", "lr": 0.5, "num_epochs": 4}
    trainer = TinyTrainer(cfg, [StopAt(2)], batch_size=2, lr=0.5, model=net())
    trainer.run()
    assert "resume: changed: lr: 0.1 then, 0.5 now" in caplog.text
    assert trainer.lr == 0.5
    assert trainer.position.update == 10
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == before
    # The same command again goes on with the new run, not from the old one once more.
    again = TinyTrainer(cfg, batch_size=2, lr=0.5, model=net())
    again.run()
    assert again.position.update == 24


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.Linear(8, 3))


@pytest.mark.parametrize("place", ["run", "run/checkpoints", "run/checkpoints/update-00000004"])
def test_a_path_may_be_that_of_a_run_or_of_one_checkpoint(place):
    Trainer(CFG, StopAt(4)).run()
    trainer = Trainer({**CFG, "work_dir": "other", "resume": place}, StopAt(1))
    trainer.run()
    assert trainer.position.update == 5


def test_going_back_in_ones_own_run_puts_what_came_after_aside():
    Trainer({**CFG, "save_every_updates": 1, "keep_last": 9}, StopAt(5)).run()
    place = "run/checkpoints/update-00000002"
    cfg = {**CFG, "resume": place}
    Trainer(cfg, StopAt(1)).run()
    names = sorted(path.name for path in Path("run/checkpoints").iterdir())
    assert sum(name.startswith("abandoned-") for name in names) == 3
    assert "update-00000003" in names


@pytest.mark.parametrize(
    ("resume", "message"),
    [
        ("absent", "is no run"),
        ("file.pth", "use finetune"),
        ("empty", "there are no checkpoints in it"),
    ],
)
def test_a_path_that_is_no_run_is_refused(resume, message):
    Path("file.pth").touch()
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        Trainer({**CFG, "resume": resume}).run()


def test_damaged_checkpoints_alone_are_an_error_not_a_new_beginning():
    Trainer(CFG, StopAt(4)).run()
    for path in Path("run").rglob("state.pt"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="Put that folder aside"):
        Trainer(CFG).run()


def test_another_model_is_refused_before_anything_is_loaded():
    Trainer(CFG, StopAt(4)).run()
    trainer = TinyTrainer(CFG, batch_size=2, model=nn.Linear(3, 3))
    before = weights(trainer)
    with pytest.raises(CheckpointError) as caught:
        trainer.run()
    assert "not in it: weight, bias" in str(caught.value)
    assert "not in the model: 0.weight" in str(caught.value)
    assert torch.equal(weights(trainer), before)
    wider = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), nn.Dropout(), nn.Linear(9, 3))
    with pytest.raises(CheckpointError, match=r"0.weight \(\(8, 3\) there, \(9, 3\) here\)"):
        TinyTrainer(CFG, batch_size=2, model=wider).run()


def test_another_optimizer_is_refused_with_the_source():
    class Other(Trainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            return torch.optim.SGD(list(self.model.parameters())[:2], lr=0.1)

    Trainer(CFG, StopAt(4)).run()
    with pytest.raises(ConfigError, match=r"optimizer\.groups\[0\]\.parameters: \['0\.weight'"):
        Other(CFG).run()


def test_a_callback_whose_state_cannot_be_loaded_again_is_refused_before_training():
    class Bad(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"where": [object()]}

    trainer = Trainer(CFG, Bad())
    with pytest.raises(
        UsageError, match=r"callbacks/\d, Bad.state_dict\(\)\['where'\]\[0\] is a .*object"
    ):
        trainer.run()
    assert trainer.position.update == 0


def test_callbacks_that_came_or_went_are_named(caplog):
    class New(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"a": 1}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    Trainer(CFG, Counter(), StopAt(4)).run()
    Trainer(CFG, New()).run()
    assert "has the state of Counter#1, which this run lacks" in caplog.text
    assert "has no state for New: it begins anew" in caplog.text


def test_weights_that_are_not_finite_are_not_saved(caplog):
    class Spoil(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                assert self.engine is not None
                next(self.engine.model.parameters()).data.fill_(float("nan"))

    trainer = Trainer({**CFG, "on_nonfinite": "ignore"}, Spoil())
    trainer.run()
    assert "update 12 is not saved: its weights are NaN" in caplog.text
    names = [path.name for path in checkpoint_paths(Path("run/checkpoints"))]
    assert names == ["update-00000006"]


def test_without_a_folder_it_says_how_to_give_one():
    with pytest.raises(ConfigError, match="Set work_dir, or add a ModelCheckpoint"):
        TinyTrainer({"resume": "auto", "progress": False}).run()


def test_a_cfg_without_the_key_writes_no_checkpoints_and_no_lock():
    Trainer({key: value for key, value in CFG.items() if key != "resume"}).run()
    assert [path.name for path in Path("run").iterdir()] == ["model"]


def test_model_optimizer_is_a_copy_of_the_state_and_resume_model_reads_it():
    trainer = Trainer(CFG)
    trainer.run()
    path = Path("run/model/model_optimizer.pth")
    newest = checkpoint_paths(Path("run/checkpoints"))[0] / "state.pt"
    assert path.read_bytes() == newest.read_bytes()
    assert not path.samefile(newest)
    found = torch.load(path, weights_only=True)
    assert found["epoch"] == 2
    other = Trainer({**CFG, "resume": "never", "work_dir": "old"})
    saver = other.callbacks[-1]
    assert isinstance(saver, ModelCheckpoint)
    *_, start = saver.resume_model(other.model, other.optimizer, "run/model")
    assert start == 3
    assert torch.equal(weights(trainer), weights(other))
    assert_same(other.optimizer.state_dict(), trainer.optimizer.state_dict())


def test_old_style_resuming_goes_on_after_the_epoch_that_was_saved():
    cfg = {**CFG, "resume": "never"}
    Trainer({**cfg, "num_epochs": 2}).run()
    trainer = Trainer({**cfg, "work_dir": "new"})
    saver = trainer.callbacks[-1]
    assert isinstance(saver, ModelCheckpoint)
    *_, trainer.start_epoch = saver.resume_model(trainer.model, trainer.optimizer, "run/model")
    trainer.run()
    assert trainer.position.update == 6  # one epoch


def test_a_criterion_with_parameters_and_several_optimizers_go_on():
    class Learnt(nn.CrossEntropyLoss):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, outputs: Any, targets: Any) -> Any:
            return super().forward(outputs * self.scale, targets) + 0.1 * self.scale**2

    class Two(Trainer):
        def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
            return Learnt()

        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            first = torch.optim.Adam(self.model.parameters(), lr=0.1)
            return [first, torch.optim.SGD(self.criterion.parameters(), lr=0.1, momentum=0.9)]

        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            return [LossesRecorder(), *self.extra]

        def train_step(self, inputs: Any) -> Any:
            for optimizer in self.optimizer:
                outputs, loss = self.run_step(inputs)
                self.update(loss, optimizer=optimizer)
            return outputs, loss

    whole = Two({**CFG, "work_dir": "whole"})
    expected = everything(whole, whole.run())
    Two(CFG, StopAt(8)).run()
    again = Two(CFG)
    assert_same(everything(again, again.run()), expected)
    assert again.criterion.scale.item() != 1.0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"save_every_updates": 4}, [4, 6, 8, 12, 16, 18]),
        ({"save_every_epochs": 2}, [12, 18]),
        ({"save_every_epochs": 0}, [18]),
        ({"save_every_minutes": 1e-9, "save_every_epochs": 0}, list(range(1, 19))),
    ],
)
def test_checkpoints_come_every_so_many_updates_epochs_or_minutes(keys, expected, monkeypatch):
    trainer = Trainer({**CFG, **keys, "keep_last": 100})
    trainer.run()
    found = {int(path.name[7:15]) for path in checkpoint_paths(Path("run/checkpoints"))}
    assert sorted(found) == expected
