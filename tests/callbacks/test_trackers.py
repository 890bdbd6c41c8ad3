"""docs/trackers.md: the callback that it shows works, and stays short."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import basetrainer
from basetrainer.callbacks.losses_recorder import LossesRecorder
from tests.tiny import TinyTrainer

PAGE = Path(basetrainer.__file__).parents[1] / "docs" / "trackers.md"
QUIET = {"num_epochs": 2, "progress": False}


class Fake:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def init(self, config: Any, id: str | None, resume: str) -> Any:  # W&B's
        self.told.append(("init", config, id, resume))
        return SimpleNamespace(id=id or "abc")

    def log(self, figures: Any, step: int) -> None:
        self.told.append((step, figures))

    def finish(self) -> None:
        self.told.append("finish")


@pytest.fixture
def shown() -> dict[str, Any]:
    found: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, found)
    assert len(code.split("\n\n\ndef flat")[0].splitlines()) < 40
    return found


def test_the_tracker_of_the_docs_hears_every_epoch(shown):
    fake = Fake()
    logs = TinyTrainer(QUIET, [LossesRecorder(), shown["Tracker"](fake, lr=0.1)]).run()
    assert fake.told[0] == ("init", {"lr": 0.1}, None, "allow")
    last = {"lr": 0.1, "train/loss": logs["train"]["loss"], "test/loss": logs["test"]["loss"]}
    assert fake.told[2] == (1, {**last, "epoch": 1})
    assert fake.told[3:] == ["finish"]


def test_the_tracker_of_the_docs_goes_on_in_the_same_run(shown, tmp_path):
    told = []
    for num_epochs in (1, 2):
        fake = Fake()
        cfg = {**QUIET, "num_epochs": num_epochs, "resume": "auto", "work_dir": str(tmp_path)}
        TinyTrainer(cfg, [LossesRecorder(), shown["Tracker"](fake)]).run()
        told += [one for one in fake.told if one[0] == "init"]
    assert [one[2] for one in told] == [None, "abc"]


def test_the_tracker_of_the_docs_is_closed_when_the_run_fails(shown):
    class Failing(TinyTrainer):
        def on_test_begin(self, logs: Any = None) -> None:
            raise ValueError("mine")

    fake = Fake()
    with pytest.raises(ValueError, match="mine"):
        Failing(QUIET, [shown["Tracker"](fake)]).run()
    assert fake.told[-1] == "finish"
