"""EMA, EarlyStop, TimeLimit, and the keys that add them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.early_stop import EarlyStop
from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.time_limit import TimeLimit
from basetrainer.errors import ConfigError
from tests.callbacks.test_model_checkpoint import Figures
from tests.tiny import TinyTrainer

QUIET = {"num_epochs": 3, "progress": False}


class WeightReader(Callback):
    """Remembers the weights at each training step, and those that are tested."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[torch.Tensor] = []
        self.tested: list[torch.Tensor] = []

    def on_train_summary(self, *args: Any) -> None:
        self.trained.append(self.model.weight.detach().clone())  # type: ignore[union-attr, operator]

    def on_test_summary(self, *args: Any) -> None:
        self.tested.append(self.model.weight.detach().clone())  # type: ignore[union-attr, operator]


def expected_average(start: torch.Tensor, steps: list[torch.Tensor], decay: float) -> torch.Tensor:
    average = start.clone()
    for number, value in enumerate(steps):
        d = min(decay, (1 + number) / (10 + number))
        average = d * average + (1 - d) * value
    return average


def test_the_average_is_tested_and_training_goes_on_with_the_raw_weights():
    reader = WeightReader()
    trainer = TinyTrainer({**QUIET, "ema_decay": 0.5}, [reader])
    start = trainer.model.weight.detach().clone()
    trainer.run()
    average = expected_average(start, reader.trained[:3], 0.5)
    assert torch.allclose(reader.tested[0], average, atol=1e-6)
    plain = WeightReader()
    TinyTrainer(QUIET, [plain]).run()
    assert all(torch.equal(a, b) for a, b in zip(reader.trained, plain.trained, strict=True))


def test_saved_models_hold_the_average_and_model_optimizer_the_raw_weights(tmp_path):
    reader = WeightReader()

    class Trainer(TinyTrainer):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            return [reader, ModelCheckpoint(self.model, self.optimizer, tmp_path, 3)]

    trainer = Trainer({**QUIET, "ema_decay": 0.9})
    trainer.run()
    assert [type(one) for one in trainer.callbacks] == [WeightReader, EMA, ModelCheckpoint]
    latest = torch.load(tmp_path / "latest_model_002.pth", weights_only=True)
    raw = torch.load(tmp_path / "model_optimizer.pth", weights_only=True)["model"]
    assert torch.equal(latest["weight"], reader.tested[-1])
    assert torch.equal(raw["weight"], reader.trained[-1])
    assert not torch.equal(latest["weight"], raw["weight"])


def test_a_failing_evaluation_leaves_the_raw_weights_in_place():
    reader = WeightReader()

    class Failing(Callback):
        def on_test_summary(self, *args: Any) -> None:
            raise RuntimeError("mine")

    trainer = TinyTrainer({**QUIET, "ema_decay": 0.9}, [reader, Failing()])
    with pytest.raises(RuntimeError, match="mine"):
        trainer.run()
    assert torch.equal(trainer.model.weight, reader.trained[-1])


def test_the_average_follows_updates_not_micro_batches():
    trainer = TinyTrainer({**QUIET, "ema_decay": 0.9, "accumulate_steps": 2})
    trainer.run()
    ema = trainer.callbacks[0]
    assert isinstance(ema, EMA)
    assert ema.num_updates == trainer.position.update == 6


def test_the_average_goes_through_its_state_dict():
    trainer = TinyTrainer({**QUIET, "ema_decay": 0.9})
    trainer.run()
    state = trainer.callbacks[0].state_dict()
    other = EMA(0.9)
    other.load_state_dict(state)
    assert other.num_updates == 9
    assert torch.equal(other.state_dict()["average"]["weight"], state["average"]["weight"])


@pytest.mark.parametrize(
    ("values", "mode", "last_epoch"),
    [
        ([1.0, 2.0, 1.5, 1.0, 9.0], None, 3),
        ([3.0, 2.0, 2.5, 2.0, 1.0], "min", 3),
        ([float("nan")] * 5, None, 1),
        ([1.0, None, None, 0.5, 0.5], None, 4),
    ],
)
def test_early_stop_ends_the_run_after_so_many_evaluations_without_a_new_best(
    values, mode, last_epoch
):
    callbacks = [Figures(values), EarlyStop(2, "Acc", mode)]
    trainer = TinyTrainer({**QUIET, "num_epochs": 5}, callbacks)
    trainer.run()
    assert trainer.epoch == last_epoch
    assert trainer.stop_reason is not None
    assert "Acc" in trainer.stop_reason


def test_early_stop_says_that_nobody_writes_its_metric_and_lets_the_run_go_on(caplog):
    stop = EarlyStop(1, "Recall", "max")
    trainer = TinyTrainer({**QUIET, "num_epochs": 2}, [Figures([1.0, 0.5], "Acc"), stop])
    trainer.run()
    assert (trainer.epoch, trainer.stop_reason) == (1, None)
    assert "early_stop: no metric is called 'Recall'. Known: Acc" in caplog.text


def test_early_stop_watches_what_model_checkpoint_watches(tmp_path):
    class Trainer(TinyTrainer):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            saver = ModelCheckpoint(
                self.model, self.optimizer, tmp_path, indicator="err", mode="min"
            )
            return [Figures([3.0, 2.0, 2.5, 1.0], "err"), saver]

    trainer = Trainer({**QUIET, "num_epochs": 4, "early_stop": 1})
    trainer.run()
    assert trainer.epoch == 2


def test_early_stop_without_a_metric_says_what_to_set():
    with pytest.raises(ConfigError, match="early_stop_indicator"):
        TinyTrainer({**QUIET, "early_stop": 1}).run()


def test_time_limit_stops_at_the_next_step():
    trainer = TinyTrainer({**QUIET, "num_epochs": 1_000_000, "max_minutes": 0.001})
    trainer.run()
    assert trainer.stop_reason == "max_minutes: 0.001 are over"


def test_a_callback_that_the_user_gave_is_not_added_again():
    own = EMA(0.5)
    trainer = TinyTrainer({**QUIET, "ema_decay": 0.9, "max_minutes": 60}, [own])
    assert trainer.callbacks[0] is own
    assert [type(one) for one in trainer.callbacks] == [EMA, TimeLimit]


@pytest.mark.parametrize("make", [lambda: EMA(1.0), lambda: EarlyStop(0), lambda: TimeLimit(0)])
def test_impossible_arguments_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_tied_weights_are_averaged_and_swapped_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    reader = WeightReader()
    model = nn.Sequential(first, second)
    trainer = TinyTrainer({**QUIET, "ema_decay": 0.9}, [], model=model)

    class Compare(Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            self.tested = first.weight.detach().clone()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            reader.tested.append(first.weight.detach().clone())

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            reader.trained.append(first.weight.detach().clone())

    trainer.callbacks.append(Compare())
    trainer.run()
    # After each evaluation the weights are again those of the last step.
    assert all(torch.equal(a, b) for a, b in zip(reader.tested, reader.trained[2::3], strict=True))
