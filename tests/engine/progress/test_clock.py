"""Clock: every second of a run belongs to one part; a starving step is said."""

from __future__ import annotations

import json
import logging
import types
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from basetrainer.callbacks import callbacks
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.engine import base
from basetrainer.engine.progress import clock
from basetrainer.engine.progress import input_bound as starving
from basetrainer.engine.progress.clock import Clock, told
from basetrainer.engine.progress.input_bound import advice, hidden_wait
from tests.tiny import TinyTrainer, tiny_data

QUIET = {"num_epochs": 2, "progress": False}


class Hands:
    """A clock that goes on only when somebody spends time."""

    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hands(monkeypatch):
    made = Hands()
    for module in (clock, base, callbacks):
        monkeypatch.setattr(module, "perf_counter", lambda: made.now)
    return made


class Slow(Dataset[Any]):
    """Spends time on each sample."""

    def __init__(self, hands: Hands, seconds: float) -> None:
        self.hands, self.seconds, self.data = hands, seconds, tiny_data()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        self.hands.spend(self.seconds)
        return self.data[index]


class SlowStep(TinyTrainer):
    hands: Hands
    seconds = 0.0

    def run_step(self, inputs: Any) -> Any:
        self.hands.spend(self.seconds)
        return super().run_step(inputs)


class SlowCallback(Callback):
    def __init__(self, hands: Hands) -> None:
        super().__init__()
        self.hands = hands

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.hands.spend(0.5)

    def on_test_summary(self, *args: Any) -> None:
        self.hands.spend(0.25)


class SlowSave(ModelCheckpoint):
    """Spends time on saving, as the saver that it is."""

    hands: Hands

    def _read_value(self, logs: Any) -> float | None:
        self.hands.spend(7.0)
        return super()._read_value(logs)


def slow_trainer(
    hands: Hands, more: Any = (), sample: float = 0.0, step: float = 0.0, **cfg: Any
) -> SlowStep:
    made = SlowStep({**QUIET, **cfg}, list(more), data=Slow(hands, sample))
    made.hands, made.seconds = hands, step
    return made


def test_every_second_belongs_to_one_part(hands, tmp_path):
    told_parts: list[dict[str, float]] = []

    class Teller(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert self.engine is not None
            told_parts.append(self.engine.run_clock.epoch)

    made = slow_trainer(hands, [SlowCallback(hands), Teller()], sample=1.0, step=2.0)
    saver = SlowSave(made.model, made.optimizer, tmp_path, 2)
    saver.hands = hands
    made.callbacks.append(saver)
    made.run()
    # 12 samples in 3 batches; the evaluation has its own data, steps and hooks.
    test = 12 * 1.0 + 3 * 2.0 + 3 * 0.25
    first = {"data": 12.0, "step": 6.0, "callbacks": 1.5, "test": test, "checkpoints": 0.0}
    assert told_parts == [first, {**first, "checkpoints": 7.0}]
    run = made.run_clock.measure_run(made)
    assert sum(run.values()) == pytest.approx(hands.now)
    assert run["checkpoints"] == 14.0


def test_checkpoints_to_go_on_from_count_as_such(hands, tmp_path, monkeypatch):
    write = CheckpointStore.write

    def slow(self: CheckpointStore, *args: Any, **kwargs: Any) -> None:
        hands.spend(3.0)
        write(self, *args, **kwargs)

    monkeypatch.setattr(CheckpointStore, "write", slow)
    cfg = {"resume": "auto", "work_dir": str(tmp_path), "save_every_updates": 2}
    made = slow_trainer(hands, [SlowCallback(hands)], sample=1.0, step=2.0, **cfg)
    made.run()  # saved after updates 2, 4 and 6, and at both ends of an epoch
    run = made.run_clock.measure_run(made)
    assert run["checkpoints"] == 5 * 3.0
    assert run["callbacks"] == 2 * 1.5
    assert run["step"] == 2 * 6.0
    assert sum(run.values()) == pytest.approx(hands.now)


def test_a_hook_that_fires_others_counts_once(hands):
    class Tests(Callback):
        """Evaluates within a hook."""

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                assert self.engine is not None
                self.engine.test()  # type: ignore[attr-defined]

    made = slow_trainer(hands, [Tests(), SlowCallback(hands)], sample=1.0, step=2.0, num_epochs=1)
    made.run()
    inner = 12 * 1.0 + 3 * 2.0 + 3 * 0.25
    assert made.run_clock.epoch["callbacks"] == pytest.approx(inner + 1.5)
    assert made.run_clock.epoch["data"] == 12.0
    assert made.run_clock.epoch["step"] == 6.0


def test_a_loop_of_the_users_own_is_measured_alike(hands):
    class Own(SlowStep):
        def run_train_epoch(self, dataset: Any, logs: Any) -> None:
            for step, inputs in enumerate(dataset):
                outputs, losses = self.train_step(inputs)
                self.on_train_summary(inputs, outputs, losses, self.epoch, step, logs)
                self.on_batch_end(step, logs)

    made = Own(
        {**QUIET, "num_epochs": 1}, [SlowCallback(hands)], data=Slow(hands, 1.0), tests=False
    )
    made.hands, made.seconds = hands, 2.0
    made.run()
    assert made.run_clock.epoch["data"] == 12.0
    assert made.run_clock.epoch["step"] == 6.0
    assert made.run_clock.epoch["callbacks"] == 1.5


def test_a_second_run_starts_anew(hands):
    made = slow_trainer(hands, [SlowCallback(hands)], sample=1.0, num_epochs=1)
    made.run()
    made.num_epochs = 2
    made.run()
    assert made.run_clock.measure_run(made)["data"] == 12.0
    assert made.run_clock.measure_run(made)["callbacks"] == 1.5


def test_the_shares_are_in_the_log_and_the_seconds_in_metrics_jsonl(hands, tmp_path, caplog):
    recorders = [LossesRecorder(), LogHistory(tmp_path, log_freq=0)]
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        slow_trainer(hands, recorders, sample=0.5, step=1.0).run()
    lines = [record.getMessage() for record in caplog.records]
    # 6 s of data and 3 s of steps; the evaluation has as many.
    assert "time epoch:001,data 33%, step 17%, test 50%" in lines
    assert "run took 0:36: data 33%, step 17%, test 50%" in lines
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["time"] == {
        "data": 6.0,
        "step": 3.0,
        "callbacks": 0.0,
        "test": 9.0,
        "checkpoints": 0.0,
    }


def test_parts_that_took_hardly_any_time_are_not_told():
    seconds = {"data": 1.0, "step": 3.0, "test": 0.0, "checkpoints": 0.01}
    assert told(seconds) == "data 25%, step 75%"
    assert told({}) == ""


def starved_lines(caplog: Any, trainer: TinyTrainer) -> list[str]:
    with caplog.at_level(logging.WARNING, logger="basetrainer"):
        trainer.run()
    return [record.getMessage() for record in caplog.records if "starves" in record.getMessage()]


def test_a_starving_step_is_said_with_a_setting_to_try(hands, caplog, monkeypatch):
    monkeypatch.setattr(starving, "num_cores", lambda: 4)
    lines = starved_lines(caplog, slow_trainer(hands, sample=1.0, step=1.0, num_epochs=9))
    assert len(lines) == starving.MAX_LINES
    # Of 12 s of data the first epoch's first batch, 4 s, counts as a start.
    assert "53% of the training time of epoch 1" in lines[0]
    assert "80% of the training time of epoch 2" in lines[1]
    assert lines[0].endswith("try num_workers=4.")


@pytest.mark.parametrize(("sample", "step"), [(0.1, 10.0), (0.01, 0.01)])
def test_a_fed_step_and_a_short_epoch_are_not_blamed(hands, caplog, sample, step):
    assert not starved_lines(caplog, slow_trainer(hands, sample=sample, step=step))


def loader(num_workers: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(tiny_data(), num_workers=num_workers, **options)


@pytest.mark.parametrize(
    ("given", "first_wait", "cores", "setting"),
    [
        (loader(0), 0.0, 16, "try num_workers=8"),
        (loader(0), 0.0, 1, "try num_workers=1"),
        (loader(2), 6.0, 2, "persistent_workers=True"),
        (loader(2, persistent_workers=True), 6.0, 3, "try num_workers=3"),
        (loader(2), 0.0, 8, "try num_workers=4"),
        (loader(2), 0.0, 2, "samples must cost less"),
        ([1], 0.0, 2, "A list loads in this process"),
    ],
)
def test_the_advice_fits_the_loader(given, first_wait, cores, setting):
    measured: Any = types.SimpleNamespace(first_wait=first_wait, epoch={"data": 10.0})
    assert setting in advice(given, measured, cores)


def test_an_accelerator_that_is_behind_hides_the_waits_of_the_host():
    measured, made = Clock(), TinyTrainer(QUIET)
    measured.num_batches = 100
    guard = made.guard
    assert guard is not None
    guard.num_checks = 5
    guard.seconds = 5 * 0.7  # it has work for a long while at each log point
    assert hidden_wait(made, measured) == 0.0  # a CPU has done what was asked when a call returns
    made.device = torch.device("meta")
    assert hidden_wait(made, measured) > 100 * 0.6
    guard.seconds = 5 * 0.01  # it has kept up, and waits for the loader too
    assert hidden_wait(made, measured) == pytest.approx(3.0)
    made.guard = None
    assert hidden_wait(made, measured) == float("inf")
