"""A traceback that a user sees: short, with the place of the run; ours stay whole."""

from __future__ import annotations

import re
import traceback
from typing import Any

import pytest
from torch import nn
from torch.utils.data import Dataset

from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.base import HOOKS
from basetrainer.engine.engine import Engine
from basetrainer.engine.failures.frames import is_ours
from basetrainer.engine.launch import launch
from tests.tiny import TinyTrainer, tiny_data

CFG = {"num_epochs": 2, "progress": False, "log_freq": 1}


def ours(error: BaseException) -> list[str]:
    """The functions of ours in a traceback."""
    return [
        frame.f_code.co_name
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if is_ours(frame)
    ]


def run(trainer: TinyTrainer) -> BaseException:
    """Run as programs do, and return the error."""
    with pytest.raises(ZeroDivisionError) as caught:
        launch(trainer.run, 1)
    return caught.value


def place(error: BaseException, log: pytest.LogCaptureFixture) -> str:
    """Where the error says that it was; Python 3.10 has no notes, so it is logged there."""
    logged = [one.partition(": Zero")[0] for one in log.messages]
    return str(getattr(error, "__notes__", logged)[0])


def fails(self: object, *args: object) -> None:
    1 / 0  # noqa: B018


@pytest.mark.parametrize("name", [name for name in HOOKS if name != "on_exception"])
def test_an_error_in_a_hook_shows_three_frames_of_ours_at_most_and_the_place(name, caplog):
    callback = type("Broken", (Callback,), {name: fails})()
    error = run(TinyTrainer(CFG, [callback]))
    assert ours(error)[:2] == ["launch", "run"]
    assert len(ours(error)) <= 3
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fails"
    where = r"basetrainer: at (epoch \d, step \d|the end of epoch \d)"
    assert re.fullmatch(where, place(error, caplog))


class Deep(TinyTrainer):
    """Calls the engine, which calls it, and so on."""

    def run_train_epoch(self, dataset, logs):
        super().run_train_epoch(dataset, logs)

    def train_step(self, inputs):
        return super().train_step(inputs)

    def run_step(self, inputs):
        return super().run_step(inputs)


class Net(nn.Linear):
    def forward(self, inputs):
        if self.training and self.weight.grad is not None:
            fails(self)
        return super().forward(inputs)


def test_an_error_deep_in_the_users_code_shows_all_of_it_and_little_of_ours(caplog):
    error = run(Deep(CFG, model=Net(3, 3)))
    assert ours(error) == ["launch", "run", "run_step"]
    names = [entry.name for entry in traceback.extract_tb(error.__traceback__)]
    for name in ("run_train_epoch", "train_step", "forward", "fails"):
        assert names.count(name) == 1
    assert place(error, caplog) == "basetrainer: at epoch 1, step 1"


class Data(Dataset[Any]):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index == 7:
            fails(self)
        return tiny_data()[index]


def test_an_error_in_the_data_shows_three_frames_of_ours_at_most():
    assert len(ours(run(TinyTrainer(CFG, data=Data())))) <= 3


def test_an_error_without_a_frame_of_the_users_stays_whole():
    engine = Engine(CFG)
    engine.model, engine.train_loader = nn.Linear(3, 3), [(1, 2)]
    with pytest.raises(TypeError) as caught:
        engine.run()
    assert ours(caught.value)[:4] == ["run", "_train", "run_epoch", "_train_on"]


def test_the_whole_traceback_is_logged_at_debug(caplog):
    caplog.set_level("DEBUG", "basetrainer.engine.failures.failure")
    run(Deep(CFG, model=Net(3, 3)))
    assert "in run_epoch" in caplog.text
