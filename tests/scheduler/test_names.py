"""Warm-up in epochs or updates, floors absolute or relative, and cosine by update."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
import torch

from basetrainer import ConfigError, get_scheduler
from basetrainer.callbacks.callbacks import Callback
from tests.callbacks.staged import CFG, Staged


def made(name: str, lr: float = 0.1, **kwargs: Any) -> Any:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    return get_scheduler(name, optimizer, lr, 4, 10, **kwargs)


def rates(scheduler: Any) -> list[float]:
    return [scheduler.lr_at(epoch, step) for epoch in range(4) for step in range(10)]


def test_cosine_step_changes_with_every_update():
    found = rates(made("cosine_step", min_lr_ratio=0.1))
    assert found[0] == 0.1
    assert all(one > other for one, other in itertools.pairwise(found))
    assert found == pytest.approx(rates(made("cosine_restarts", lr_min=0.01)))


@pytest.mark.parametrize("name", ["linear", "cosine", "cosine_step", "multi-step", "one_cycle"])
def test_a_warm_up_has_three_names(name):
    more: dict[str, Any] = {"milestones": [3]} if name == "multi-step" else {}
    wanted = rates(made(name, num_warn_up=0.5, **more))
    assert rates(made(name, num_warm_up=0.5, **more)) == wanted
    assert rates(made(name, warm_up_updates=5, **more)) == wanted
    assert rates(made(name, warm_up_updates=5, num_warn_up=0, **more)) == wanted
    with pytest.raises(ConfigError, match="both say how long"):
        made(name, warm_up_updates=5, num_warm_up=1, **more)


def test_updates_of_warm_up_are_updates_whatever_an_update_is():
    seen: list[float] = []

    class Seen(Callback):
        def on_optimizer_step(self, update: int, logs: Any = None) -> None:
            seen.append(logs["lr"])

    def make(one: Staged) -> Any:
        shared = (one.optimizer, 0.05, one.num_epochs, one.num_steps)
        return [get_scheduler("constant", *shared, warm_up_updates=4, warm_up_start=0.2)]

    cfg = {**CFG, "unfreeze": None, "resume": "never", "accumulate_steps": 2}
    Staged(cfg, Seen(), make=make).run()
    assert seen[:6] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05, 0.05])


def test_a_floor_that_is_above_the_rate_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        made("cosine", lr=5e-6)
    assert "lr_min=1e-05 is not below the learning rate 5e-06" in caplog.text
    caplog.clear()
    made("cosine", lr=5e-6, min_lr_ratio=0.1)
    assert not caplog.text


def test_two_floors_are_refused():
    with pytest.raises(ConfigError, match="both say how low"):
        made("linear", lr_min=0.01, min_lr_ratio=0.1)
    with pytest.raises(ConfigError, match="min_lr_ratio"):
        made("linear", min_lr_ratio=1.5)
