"""Without a run, between two runs, and after the trainer: evaluation alone, Ctrl-C, memory."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import weakref
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap, wrap
from basetrainer.engine.progress.progress import Progress
from basetrainer.errors import ConfigError, UsageError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.models.freeze import freeze
from tests.tiny import TinyTrainer, tiny_data, weights

QUIET: dict[str, Any] = {"num_epochs": 1, "progress": False}


class Untrained(TinyTrainer):
    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return None


def test_without_a_training_loader_a_trainer_tests_and_predicts_and_run_says_what_is_missing():
    trainer = Untrained(QUIET, [AccuracyRecorder()])
    assert (trainer.train_num, trainer.num_steps, trainer.test_num) == (0, 0, 12)
    assert set(trainer.test()) == {"Acc"}
    assert torch.cat(list(trainer.predict(trainer.test_loader))).shape == (12, 3)
    with pytest.raises(ConfigError, match=r"train_loader is None.*only test\(\) and predict\(\)"):
        trainer.run()
    assert set(trainer.test()) == {"Acc"}


def test_tests_and_predictions_end_their_workers():
    trainer = TinyTrainer(QUIET)
    before = set(multiprocessing.active_children())
    trainer.test_loader = trainer.build_dataloader(tiny_data(), 4, 1, False, "test")
    trainer.test()
    assert set(multiprocessing.active_children()) == before
    outputs = trainer.predict(trainer.test_loader)
    next(outputs)
    assert set(multiprocessing.active_children()) != before
    outputs.close()  # type: ignore[attr-defined]
    assert set(multiprocessing.active_children()) == before
    assert len(list(trainer.predict(trainer.test_loader))) == 3
    assert set(multiprocessing.active_children()) == before


class Point(NamedTuple):
    where: Tensor
    label: Tensor


@pytest.mark.parametrize(
    "made",
    [
        lambda points, labels: {"label": labels, "image": points},
        lambda points, labels: {"points": points, "label": labels},
        lambda points, labels: (points,),
        lambda points, labels: [points, labels, "name"],
        lambda points, labels: Point(points, labels),
        lambda points, labels: points,
    ],
)
def test_predict_takes_the_batches_that_training_takes(made):
    trainer = TinyTrainer(QUIET)
    points, labels = tiny_data().tensors
    (outputs,) = trainer.predict([made(points, labels)])
    assert torch.allclose(outputs, trainer.model(points))


def test_predict_finds_the_images_of_a_dict_by_their_shape():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    trainer = TinyTrainer(QUIET)
    trainer.model = model
    images = torch.randn(5, 3, 2, 2)
    (outputs,) = trainer.predict([{"label": torch.zeros(5), "picture": images}])
    assert torch.allclose(outputs, model(images))


@pytest.mark.parametrize("hook", ["on_batch_end", "on_test_summary"])
def test_after_ctrl_c_everything_works_again(tmp_path, hook):
    class Press(Callback):
        is_pressed = False

        def press(self, *args: Any) -> None:
            if not self.is_pressed:
                self.is_pressed = True
                os.kill(os.getpid(), signal.SIGINT)

    setattr(press := Press(), hook, press.press)
    cfg = {**QUIET, "num_epochs": 2, "resume": "auto", "work_dir": str(tmp_path)}
    trainer = TinyTrainer(cfg, [press, AccuracyRecorder()])
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    saved = sorted((tmp_path / "checkpoints").iterdir())
    assert set(trainer.test()) == {"Acc"}
    assert len(list(trainer.predict(trainer.test_loader))) == 3
    assert sorted((tmp_path / "checkpoints").iterdir()) == saved
    trainer.run()
    assert (trainer.position.epoch, trainer.position.update) == (2, 6)
    whole = TinyTrainer({**QUIET, "num_epochs": 2})
    whole.run()
    assert torch.equal(weights(trainer), weights(whole))


@pytest.mark.parametrize("resume", ["never", "auto"])
def test_a_trainer_that_is_deleted_frees_its_network_at_once(tmp_path, resume):
    cfg = {**QUIET, "resume": resume, "work_dir": str(tmp_path), "ema_decay": 0.9}
    trainer = TinyTrainer(cfg, [LossesRecorder(), LogHistory(tmp_path / "log", pictures=False)])
    trainer.run()
    trainer.test()
    next(trainer.predict(trainer.test_loader))
    held = [weakref.ref(trainer), weakref.ref(trainer.model), weakref.ref(trainer.model.weight)]
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert [one() is None for one in held] == [True, True, True]
    finally:
        gc.enable()


class Holding(nn.Module):
    """A network with a submodule of the name that wrappers use."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 3)

    def forward(self, points: Tensor) -> Tensor:
        outputs: Tensor = self.module(points)
        return outputs


@pytest.mark.parametrize("made", [Holding, lambda: AveragedModel(nn.Linear(3, 3))])
def test_a_network_that_holds_a_module_keeps_it(made, tmp_path):
    trainer = TinyTrainer({**QUIET, "ema_decay": 0.9}, model=made())
    trainer.run()
    own = trainer.model
    assert own.module is dict(own.named_children())["module"]
    assert unwrap(own) is own
    torch.save(own.state_dict(), tmp_path / "weights.pth")
    trainer.test(tmp_path / "weights.pth")


def test_one_unwrap_has_one_answer():
    model: Any = wrap(nn.Sequential(nn.Linear(3, 3)), DistContext())
    assert unwrap(nn.DataParallel(model)) is model
    compiled: Any = torch.compile(model)
    assert unwrap(compiled) is model
    held = Holding()
    freeze(held, "module")
    assert not any(one.requires_grad for one in held.parameters())


class Registered(nn.Linear):
    """Has a registry of its classes, as model libraries do."""

    known: ClassVar[list[str]] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Registered.known.append(cls.__name__)


def test_the_name_module_leaves_a_network_as_it_is():
    model: Any = wrap(Registered(3, 3), DistContext())
    assert model.module is model
    assert isinstance(model, Registered)
    assert (type(model).__name__, type(model).__module__) == ("Registered", __name__)
    assert Registered.known == []
    for other in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):
        assert other.module is other
    model.later = nn.Linear(1, 1)
    model.module = nn.Linear(2, 2)  # a submodule that comes later
    assert model.module.in_features == 2


class Lossy(TinyTrainer):
    """Gives whatever losses it is told to."""

    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        step = self.position.step if self.model.training else self.test_step
        own = self.parts["losses"](loss, step, self.model.training)
        return outputs, own


@pytest.mark.parametrize("nothing", [None, {}, ()])
@pytest.mark.parametrize("recorder", [LossesRecorder, MultiLossesRecorder])
def test_an_evaluation_may_have_no_loss(nothing, recorder):
    def losses(loss: Tensor, step: int, training: bool) -> Any:
        return {"a": loss} if training else nothing

    logs = Lossy(QUIET, [recorder(), AccuracyRecorder()], losses=losses).run()
    assert set(logs["test"]) == {"Acc"}
    assert "loss" in logs["train"]


def test_training_without_a_loss_is_explained():
    with pytest.raises(UsageError, match="There is no loss to minimise"):
        Lossy(QUIET, losses=lambda loss, step, training: {"a": loss} if step == 0 else {}).run()


def rare(loss: Tensor, step: int, training: bool) -> dict[str, Tensor]:
    losses = {"often": loss * 0 + step}
    return losses if step == 0 else {**losses, "rare": loss * 0 + 10.0 * step}


def test_a_loss_that_some_batches_lack_is_a_mean_over_those_that_have_it():
    groups = {"loss": ["often", "rare"], "other": ["rare"]}
    for recorder in (MultiLossesRecorder(), MultiLossesRecorder(groups)):
        logs = Lossy(QUIET, [recorder], losses=rare).run()
        for phase in ("train", "test"):
            assert logs[phase]["loss"] == {"often": 1.0, "rare": 15.0, "total_loss": 16.0}
    assert logs["train"]["other"] == {"rare": 15.0}
    assert Lossy(QUIET, [LossesRecorder()], losses=rare).run()["test"]["loss"] == 16.0


def test_a_loss_that_never_comes_is_said(caplog):
    Lossy(QUIET, [MultiLossesRecorder({"loss": ["often", "never"]})], losses=rare).run()
    assert "no batch of the epoch had the losses never" in caplog.text


def test_the_criterion_is_in_evaluation_mode_in_tests_and_then_as_it_was():
    class Noting(nn.CrossEntropyLoss):
        def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(outputs, labels)

    modes: list[bool] = []
    trainer = TinyTrainer({**QUIET, "num_epochs": 2}, criterion=Noting())
    trainer.run()
    assert modes == ([True] * 3 + [False] * 3) * 2
    trainer.test()
    assert trainer.criterion.training
    trainer.criterion.eval()
    trainer.test()
    assert not trainer.criterion.training


@pytest.mark.parametrize("title", ["Training", "Stage 2", ""])
def test_figures_are_shown_under_any_title(monkeypatch, title):
    phases = []
    watch = Progress.watch

    def noted(self: Any, loader: Any, shown: str, engine: Any, phase: Any) -> Any:
        phases.append((shown, phase))
        return watch(self, loader, shown, engine, phase)

    class Titled(TinyTrainer):
        def run_train_epoch(self, dataset: Any, logs: Any) -> None:
            for inputs in self.batches(dataset, title):
                self.train_step(inputs)

        def run_test_epoch(self, dataset: Any, logs: Any) -> None:
            for _ in self.batches(dataset, title):
                pass

    monkeypatch.setattr(Progress, "watch", noted)
    trainer = Titled(QUIET)
    trainer.run()
    list(trainer.predict(trainer.test_loader))
    assert phases == [(title, "train"), (title, "test"), ("Predict", None)]


class Counted(Dataset[Any]):
    """Notes who asks for its samples."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return torch.full((3,), float(index)), 0


def test_a_test_within_a_run_leaves_the_workers_of_the_run_alone():
    class Tests(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            before = set(multiprocessing.active_children())
            trainer.test()
            list(trainer.predict(trainer.test_loader))
            kept.append(before <= set(multiprocessing.active_children()))

    kept: list[bool] = []
    trainer = TinyTrainer({**QUIET, "num_epochs": 2}, [Tests()])
    trainer.test_loader = trainer.build_dataloader(Counted(), 2, 1, False, "test")
    trainer.run()
    assert kept == [True, True]
