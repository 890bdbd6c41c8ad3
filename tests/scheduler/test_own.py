"""Schedule: a plain function, or any scheduler of torch's, stepped and resumed with the run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as of_torch

from basetrainer import ConfigError, Schedule, get_scheduler
from basetrainer.callbacks.callbacks import Callback
from basetrainer.scheduler.torch_schedule import TorchSchedule
from tests.callbacks.staged import CFG, Staged, assert_same, in_pieces

PLAIN = {**CFG, "unfreeze": None}


class Rates(Callback):
    """The learning rate that each batch was trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None) -> None:
        self.rates.append(logs["lr"])


MADE: dict[str, Any] = {
    "cosine": lambda o: of_torch.CosineAnnealingLR(o, T_max=12),
    "one cycle": lambda o: of_torch.OneCycleLR(o, max_lr=0.1, total_steps=13),
    "exponential": lambda o: of_torch.ExponentialLR(o, 0.9),
    "milestones": lambda o: of_torch.MultiStepLR(o, [3, 8]),
    "lambda": lambda o: of_torch.LambdaLR(o, lambda update: 0.9**update),
    "sequential": lambda o: of_torch.SequentialLR(
        o,
        [of_torch.LinearLR(o, total_iters=4), of_torch.CosineAnnealingLR(o, T_max=8)],
        milestones=[4],
    ),
    "warm restarts": lambda o: of_torch.CosineAnnealingWarmRestarts(o, T_0=5),
}


def expected(make: Any, num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    scheduler, rates = make(optimizer), []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", MADE)
def test_a_scheduler_of_torch_gives_its_own_rates(name):
    rates = Rates()
    make = MADE[name]
    cfg = {**PLAIN, "resume": "never"}
    Staged(cfg, rates, make=lambda one: [Schedule.of(make(one.optimizer))]).run()
    assert rates.rates == expected(make, 12)


def test_per_epoch_it_is_stepped_when_an_epoch_ends():
    rates = Rates()

    def make(trainer: Staged) -> Any:
        return [Schedule.of(of_torch.StepLR(trainer.optimizer, 2), per="epoch")]

    Staged({**PLAIN, "resume": "never"}, rates, make=make).run()
    assert rates.rates == pytest.approx([0.05] * 6 + [0.005] * 6)


@pytest.mark.parametrize("per", ["update", "epoch"])
@pytest.mark.parametrize("name", MADE)
def test_it_is_resumed_to_the_bit(name, per):
    def parts(folder: str) -> Any:
        made = {"make": lambda one: [Schedule.of(MADE[name](one.optimizer), per=per)]}
        return {**PLAIN, "work_dir": folder}, made

    cfg, made = parts("whole")
    whole = in_pieces(cfg, **made)
    cfg, made = parts("run")
    assert_same(whole, in_pieces(cfg, 4, 5, **made))


def test_plateau_reads_the_metric_and_is_resumed():
    def run(folder: str, *stops: int) -> Any:
        def make(trainer: Staged) -> Any:
            plateau = of_torch.ReduceLROnPlateau(trainer.optimizer, patience=0, threshold=0.5)
            return [Schedule.of(plateau)]

        return in_pieces({**PLAIN, "work_dir": folder}, *stops, make=make)

    whole = run("whole")
    assert_same(whole, run("run", 7))
    assert whole["optimizer"]["param_groups"][0]["lr"] < 0.05


def test_a_plain_function_counts_updates_or_epochs():
    numbers = {"update": list(range(12)), "epoch": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]}
    for per, wanted in numbers.items():
        rates, schedule = Rates(), Schedule(lambda number: 0.9**number, per=per)  # type: ignore[arg-type]
        Staged({**PLAIN, "resume": "never"}, rates, make=lambda one, own=schedule: [own]).run()
        assert rates.rates == pytest.approx([0.05 * 0.9**count for count in wanted])


def test_it_counts_updates_not_batches():
    rates = Rates()
    cfg = {**PLAIN, "resume": "never", "accumulate_steps": 2}
    Staged(cfg, rates, make=lambda one: [Schedule(lambda update: 1 / (1 + update))]).run()
    assert rates.rates[:6] == pytest.approx([0.05, 0.05, 0.025, 0.05 / 3, 0.05 / 3, 0.0125])


def test_a_function_is_resumed_and_groups_that_thaw_follow():
    def parts() -> Any:
        return {"make": lambda one: [Schedule(lambda update: 0.9**update)]}

    whole = in_pieces({**CFG, "work_dir": "whole"}, **parts())
    assert_same(whole, in_pieces(CFG, 7, **parts()))


@pytest.mark.parametrize("optim", ["sgd", "adamw"])
def test_groups_that_thaw_follow_a_scheduler_of_torch(optim):
    trainer = Staged(
        {**CFG, "resume": "never"},
        optim=optim,
        make=lambda one: [Schedule.of(MADE["one cycle"](one.optimizer))],
    )
    logs = trainer.run()
    assert logs["lr/2"] == pytest.approx(0.1 * logs["lr"])
    assert logs["lr/4"] == pytest.approx(logs["lr"])


def test_get_scheduler_takes_them_too():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    made = get_scheduler(of_torch.OneCycleLR, optimizer, max_lr=0.1, total_steps=9, per="update")
    assert isinstance(made, TorchSchedule)
    assert made.scheduler.total_steps == 9
    halved = get_scheduler(lambda epoch: 0.5, optimizer, per="epoch")
    assert isinstance(halved, Schedule)
    assert halved.factor(3) == 0.5


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda update: 1.0 - 0.1 * update, r"factor of update 11 is -0\.1"),
        (lambda update: math.nan if update == 7 else 1.0, "factor of update 7 is nan"),
        (lambda update: None, "factor of update 0 is None"),
    ],
)
def test_a_factor_that_cannot_be_is_told_before_training(function, match):
    rates = Rates()
    trainer = Staged({**PLAIN, "resume": "never"}, rates, make=lambda one: [Schedule(function)])
    with pytest.raises(ConfigError, match=match):
        trainer.run()
    assert not rates.rates


def test_a_rate_of_torch_that_cannot_be_is_told():
    def make(one: Staged) -> Any:
        return [Schedule.of(of_torch.LambdaLR(one.optimizer, lambda update: 1.0 - 0.5 * update))]

    with pytest.raises(ConfigError, match=r"learning rate of update 3 to -0\.0"):
        Staged({**PLAIN, "resume": "never"}, make=make).run()


def test_too_short_a_scheduler_is_told():
    def make(one: Staged) -> Any:
        return [Schedule.of(of_torch.OneCycleLR(one.optimizer, max_lr=0.1, total_steps=5))]

    with pytest.raises(ConfigError, match="OneCycleLR refused a step"):
        Staged({**PLAIN, "resume": "never"}, make=make).run()


def test_a_scheduler_among_the_callbacks_is_told_once():
    with pytest.raises(ConfigError, match=r"ExponentialLR is a scheduler.*Schedule\.of"):
        Staged(PLAIN, make=lambda one: [of_torch.ExponentialLR(one.optimizer, 0.9)])


def test_what_is_no_schedule_is_told():
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    with pytest.raises(ConfigError, match="Give a function of the update"):
        Schedule(0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'epoch'"):
        Schedule(lambda epoch: 1.0, per="epochs")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is no scheduler of"):
        Schedule.of(other)
    with pytest.raises(ConfigError, match="OneCycleLR refused its arguments"):
        Schedule.of(of_torch.OneCycleLR, optimizer=other, max_lr=0.1)
    foreign = Schedule.of(of_torch.ExponentialLR(other, 0.9))
    with pytest.raises(ConfigError, match="another optimizer than the run's"):
        Staged({**PLAIN, "resume": "never"}, foreign).run()
