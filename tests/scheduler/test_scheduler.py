"""LRScheduler: what is written into the optimizer, when, and for which update."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.errors import ConfigError
from basetrainer.scheduler import schedules
from basetrainer.scheduler.build_scheduler import SCHEDULERS, get_scheduler
from basetrainer.scheduler.scheduler import LRScheduler


class FakeEngine:
    def __init__(self, accumulate_steps: int) -> None:
        self.accumulate_steps = accumulate_steps


def weight() -> torch.Tensor:
    return torch.zeros(2, requires_grad=True)


def linear(optimizer: torch.optim.Optimizer, num_steps: int = 4, **kwargs: Any) -> LRScheduler:
    return LRScheduler(
        optimizer, schedules.linear(3), lr_init=0.1, num_steps=num_steps, num_epochs=3, **kwargs
    )


def run(scheduler: LRScheduler, epochs: int, num_steps: int) -> list[list[float]]:
    """The learning rate of group 0 in each batch, heard as an engine lets it be heard."""
    used: list[list[float]] = []
    for epoch in range(epochs):
        scheduler.on_epoch_begin(epoch)
        used.append([])
        for batch in range(num_steps):
            scheduler.on_batch_begin(batch)
            used[-1].append(float(scheduler.optimizer.param_groups[0]["lr"]))
            scheduler.on_batch_end(batch)
    return used


def test_every_batch_trains_with_the_learning_rate_of_its_time() -> None:
    scheduler = linear(torch.optim.SGD([weight()], lr=0.1))
    times = [[epoch + step / 4 for step in range(4)] for epoch in range(3)]
    expected = [[0.1 * (1 - t / 3) for t in row] for row in times]
    for row, right in zip(run(scheduler, 3, 4), expected, strict=True):
        assert row == pytest.approx(right)


def test_what_only_looks_like_an_optimizer_needs_no_defaults() -> None:
    optimizer: Any = SimpleNamespace(param_groups=[{"params": [weight()], "lr": 0.1}])
    assert run(linear(optimizer), 1, 4)[0][0] == pytest.approx(0.1)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(
    accumulate=st.integers(1, 7),
    updates=st.integers(1, 9),
    tail=st.integers(1, 7),
    num_warn_up=st.sampled_from([0, 1, 1.5]),
)
def test_the_curve_over_updates_is_the_same_for_every_split_of_the_global_batch(
    name: str, accumulate: int, updates: int, tail: int, num_warn_up: float
) -> None:
    def scheduler(num_steps: int, accumulate_steps: int) -> LRScheduler:
        optimizer = torch.optim.SGD([weight()], lr=0.1)
        made = get_scheduler(
            name, optimizer, 0.1, 3, num_steps, milestones=[2], num_warn_up=num_warn_up
        )
        engine = FakeEngine(accumulate_steps)
        made.attach(engine)  # type: ignore[arg-type]
        kept.append(engine)  # a callback's reference to its engine is a weak one
        return made

    kept: list[FakeEngine] = []
    num_steps = (updates - 1) * accumulate + min(tail, accumulate)  # the last window may be smaller
    whole = run(scheduler(updates, 1), 3, updates)
    split = run(scheduler(num_steps, accumulate), 3, num_steps)
    for row, parts in zip(whole, split, strict=True):
        assert [row[step // accumulate] for step in range(num_steps)] == parts


def test_a_learning_rate_is_written_once_per_update(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = linear(torch.optim.SGD([weight()], lr=0.1), num_steps=8)
    engine = FakeEngine(4)
    scheduler.attach(engine)  # type: ignore[arg-type]
    times: list[float] = []
    factor = scheduler.factor

    def noted(t: float) -> float:
        times.append(t)
        return factor(t)

    monkeypatch.setattr(scheduler, "factor", noted)
    run(scheduler, 2, 8)
    assert times == [0, 0.5, 1, 1.5]


def test_a_run_that_goes_on_in_mid_epoch_starts_with_the_right_learning_rate() -> None:
    scheduler = linear(torch.optim.SGD([weight()], lr=0.1))
    scheduler.on_epoch_begin(1)
    scheduler.on_batch_begin(3)
    assert scheduler.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * (1 - 1.75 / 3))


def test_more_batches_than_announced_stay_at_the_last_update() -> None:
    scheduler = linear(torch.optim.SGD([weight()], lr=0.1))
    assert scheduler.lr_at(0, 99) == scheduler.lr_at(0, 3)


def test_groups_keep_their_ratios() -> None:
    groups = [{"params": [weight()], "lr": lr} for lr in (0.05, 0.1, 0.7)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    scheduler = linear(optimizer)
    scheduler.step(1, 2)
    factor = scheduler.factor(1.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [0.05 * factor, 0.1 * factor, 0.7 * factor]
    )


def test_without_a_group_at_the_optimizers_own_rate_the_highest_is_the_reference() -> None:
    groups = [{"params": [weight()], "lr": lr} for lr in (0.02, 0.04)]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    linear(optimizer).step(0, 0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.1])


def test_all_groups_at_zero_get_the_schedule() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.0)
    linear(optimizer).step(0, 0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_an_optimizer_restored_in_the_run_is_not_taken_for_a_fresh_one() -> None:
    groups: list[dict[str, Any]] = [{"params": [weight()]}, {"params": [weight()], "lr": 1.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    scheduler = linear(optimizer)
    scheduler.step(0, 0)
    saved = copy.deepcopy(optimizer.state_dict())
    scheduler.step(2, 3)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.1
    scheduler.step(2, 3)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [0.1 * (1 - 2.75 / 3), 1 - 2.75 / 3]
    )


def test_a_group_added_later_gets_its_share() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = linear(optimizer)
    scheduler.step(0, 0)
    optimizer.add_param_group({"params": [weight()], "lr": 0.2})
    scheduler.step(0, 0)
    scheduler.step(1, 0)
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.2 * 2 / 3)


def test_a_learning_rate_in_a_tensor_is_changed_in_place() -> None:
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([weight()], lr=rate, capturable=False)
    scheduler = linear(optimizer)
    scheduler.step(1, 0)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.1 * 2 / 3)
    assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(0.1)


def test_a_schedule_without_state_saves_none() -> None:
    assert linear(torch.optim.SGD([weight()], lr=0.1)).state_dict() == {}


def test_a_warm_up_may_start_at_zero_if_asked_for() -> None:
    scheduler = linear(torch.optim.SGD([weight()], lr=0.1), num_warn_up=1, warm_up_start=0.0)
    assert scheduler.lr_at(0, 0) == 0.0
    assert scheduler.lr_at(0, 1) > 0.0


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"num_epochs": 0}, "num_epochs: 0 is less than 1. Write e.g. num_epochs: 1"),
    ({"num_epochs": "three"}, "num_epochs: 'three' is not a whole number"),
    ({"num_epochs": True}, "num_epochs: True is not a whole number"),
    ({"num_epochs": math.inf}, "num_epochs: inf is not a whole number"),
    ({"num_steps": 0}, "num_steps: 0 is less than 1"),
    ({"num_warn_up": -1}, "num_warn_up: -1 is less than 0"),
    ({"num_warn_up": "few"}, "num_warn_up: 'few' is not a number"),
    ({"lr_init": 0}, "lr_init: 0 is not more than 0"),
    ({"lr_init": "fast"}, "lr_init: 'fast' is not a number"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
@pytest.mark.parametrize("name", ["cosine", "linear", "constant", "one_cycle", "plateau"])
def test_what_cannot_be_is_refused_with_the_mend(
    name: str, wrong: dict[str, Any], said: str
) -> None:
    arguments = {"lr_init": 0.1, "num_epochs": 20, "num_steps": 10, "num_warn_up": 0} | wrong
    with pytest.raises(ConfigError, match=said):
        get_scheduler(name, torch.optim.SGD([weight()], lr=0.1), **arguments)


def test_whole_numbers_may_be_written_as_floats() -> None:
    scheduler = get_scheduler("cosine", torch.optim.SGD([weight()], lr=0.1), 0.1, 20.0, 10)  # type: ignore[call-overload]
    assert scheduler.num_epochs == 20


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="optimizer is a list, which has no parameter groups"):
        linear([])  # type: ignore[arg-type]


def test_an_engine_logs_the_learning_rate_that_was_used() -> None:
    from tests.tiny import TinyTrainer

    class Rates(LRScheduler):
        def on_train_summary(
            self, inputs: Any, outputs: Any, losses: Any, epoch: int, step: int, logs: Any = None
        ) -> None:
            seen.append(logs["lr"])

    seen: list[float] = []
    trainer = TinyTrainer(
        {"num_epochs": 2, "progress": False, "accumulate_steps": 2}, num_samples=20, batch_size=4
    )
    trainer.callbacks.append(
        Rates(
            trainer.optimizer,
            schedules.linear(2),
            lr_init=0.1,
            num_steps=trainer.num_steps,
            num_epochs=2,
        )
    )
    trainer.run()
    assert trainer.num_steps == 5
    updates = [0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3]
    expected = [0.1 * (1 - updates[index] / 2) for index in (0, 0, 1, 1, 2, 3, 3, 4, 4, 5)]
    assert seen == pytest.approx(expected)


def test_a_warm_up_longer_than_the_run_is_cut_to_it_and_said(caplog):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = LRScheduler(
        optimizer, schedules.constant(), lr_init=0.1, num_steps=10, num_epochs=2, num_warn_up=3
    )
    assert scheduler.lr_at(1) < scheduler.lr_at(2) == pytest.approx(0.1)
    assert "the warm-up is cut to 2" in caplog.text
