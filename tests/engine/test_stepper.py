"""Stepping an optimizer without torch's profiler range changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from basetrainer.engine.stepper import Stepper

KINDS: list[type[torch.optim.Optimizer]] = [
    *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop),
    *(torch.optim.Adagrad, torch.optim.NAdam, torch.optim.Adadelta),
]


def _net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(4, 3)


def _learn(net: nn.Module, drop: Callable[[], Any], step: Callable[[], Any], times: int) -> None:
    draw = torch.Generator().manual_seed(1)
    for _ in range(times):
        drop()
        net(torch.randn(5, 4, generator=draw)).square().mean().backward()
        step()


@pytest.fixture
def stepper() -> Stepper:
    """A stepper of SGD, whose gradients are there."""
    net = _net()
    net(torch.ones(1, 4)).sum().backward()
    return Stepper(torch.optim.SGD(net.parameters(), lr=0.1))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_weights_are_bit_for_bit_those_of_step(kind: Any) -> None:
    by_torch, ours = _net(), _net()
    optimizer = kind(by_torch.parameters(), lr=0.01)
    stepper = Stepper(kind(ours.parameters(), lr=0.01))
    _learn(by_torch, optimizer.zero_grad, optimizer.step, 4)
    _learn(ours, stepper.drop_gradients, stepper.step, 4)
    for one, other in zip(by_torch.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, other)
        assert other.requires_grad


def test_torchs_wrapper_is_left_out(stepper: Stepper, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a profiler's range was opened")

    monkeypatch.setattr(torch.autograd.profiler.record_function, "__enter__", refuse)
    stepper.step()


def test_a_profiler_sees_the_range(stepper: Stepper) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        stepper.step()
    assert "Optimizer.step#SGD.step" in {event.key for event in profile.key_averages()}


def test_hooks_added_at_any_time_are_called(stepper: Stepper) -> None:
    heard: list[str] = []
    stepper.step()
    hooks = [
        stepper.optimizer.register_step_pre_hook(lambda *_: heard.append("before")),
        stepper.optimizer.register_step_post_hook(lambda *_: heard.append("after")),
        register_optimizer_step_pre_hook(lambda *_: heard.append("before any")),
        register_optimizer_step_post_hook(lambda *_: heard.append("after any")),
    ]
    stepper.step()
    assert sorted(heard) == ["after", "after any", "before", "before any"]
    for one in hooks:
        one.remove()
    stepper.step()
    assert len(heard) == 4


def test_each_hook_alone_is_called(stepper: Stepper) -> None:
    for register in (
        stepper.optimizer.register_step_pre_hook,
        stepper.optimizer.register_step_post_hook,
        register_optimizer_step_pre_hook,
        register_optimizer_step_post_hook,
    ):
        heard: list[int] = []
        one = register(lambda *_, heard=heard: heard.append(1))
        stepper.step()
        one.remove()
        assert heard == [1]


@pytest.mark.filterwarnings("error")
def test_a_schedule_of_torchs_counts_the_steps(stepper: Stepper) -> None:
    schedule = ExponentialLR(stepper.optimizer, 0.5)
    stepper.step()
    schedule.step()  # warns if no step was seen before
    assert schedule.get_last_lr() == [pytest.approx(0.05)]


class Own(torch.optim.SGD):
    """An optimizer that counts, and drops its gradients in its own way."""

    steps = dropped = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.dropped += 1
        super().zero_grad(set_to_none=False)


def test_what_an_optimizer_overrides_is_called() -> None:
    net = _net()
    optimizer = Own(net.parameters(), lr=0.1)
    stepper = Stepper(optimizer)
    _learn(net, stepper.drop_gradients, stepper.step, 3)
    assert (optimizer.steps, optimizer.dropped) == (3, 3)


class Foreign:
    """What libraries make that only look like an optimizer."""

    def __init__(self, parameters: Iterator[Tensor]) -> None:
        self.param_groups = [{"params": list(parameters), "lr": 0.1}]
        self.steps = 0

    def step(self) -> None:
        self.steps += 1

    def zero_grad(self) -> None:
        for parameter in self.param_groups[0]["params"]:  # type: ignore[attr-defined]
            parameter.grad = None


def test_an_optimizer_that_is_not_torchs_is_stepped_as_it_is() -> None:
    net = _net()
    foreign = Foreign(net.parameters())
    stepper = Stepper(foreign)  # type: ignore[arg-type]
    _learn(net, stepper.drop_gradients, stepper.step, 2)
    assert foreign.steps == 2


def test_a_profiler_of_all_threads_sees_both_ranges(stepper: Stepper) -> None:
    all_threads = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], experimental_config=all_threads
    ) as profile:
        stepper.drop_gradients()
        stepper.step()
    names = {event.key for event in profile.key_averages()}
    assert {"Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad"} <= names


def test_what_is_replaced_in_the_middle_of_a_run_is_called(
    stepper: Stepper, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    stepper.drop_gradients()
    stepper.step()
    optimizer: Any = stepper.optimizer
    optimizer.zero_grad = lambda: heard.append("zero_grad")
    stepper.drop_gradients()
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: heard.append("step"))
    stepper.step()
    assert heard == ["zero_grad", "step"]
