"""Unfreeze: frozen until an epoch, trained from it on, and resumed in every stage."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer import ConfigError, Unfreeze, launch
from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine import comm
from basetrainer.models.freeze import freeze, thaw
from tests.callbacks.staged import CFG, Staged, assert_same, in_pieces


class Watch(Callback):
    """Keeps what the frozen half holds after each epoch, and the rates of the groups."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, torch.Tensor]] = []
        self.rates: list[list[float]] = []

    def on_optimizer_step(self, update: int, logs: Any = None) -> None:
        assert self.engine is not None
        if (update - 1) % 3 == 0:
            self.rates.append([one["lr"] for one in self.engine.optimizer.param_groups])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        assert self.engine is not None
        state = self.engine.model.state_dict()
        self.seen.append({name: one.clone() for name, one in state.items()})


def test_layers_stay_until_their_epoch_and_learn_from_it_on():
    watch = Watch()
    trainer = Staged({**CFG, "resume": "never"}, watch)
    before = {name: one.clone() for name, one in trainer.model.state_dict().items()}
    logs = trainer.run()
    for name in ("0.weight", "1.weight", "1.running_mean"):
        assert all(torch.equal(one[name], before[name]) for one in watch.seen[:2])
        assert not torch.equal(watch.seen[2][name], before[name])
        assert not torch.equal(watch.seen[3][name], watch.seen[2][name])
    assert trainer.model[1].training is False  # tested last
    assert trainer.model.train()[1].training
    # Head, head without decay, layer 0 with and without decay, the norm.
    groups = trainer.optimizer.param_groups
    assert [one["weight_decay"] for one in groups] == [0.0, 0.1, 0.0, 0.1, 0.0]
    for found in watch.rates:
        head = found[0]
        assert found == pytest.approx([head, head, 0.1 * head, 0.1 * head, head])
    assert watch.rates[0][0] > watch.rates[-1][0]
    assert {name for name in logs if name.startswith("lr")} == {
        "lr",
        *(f"lr/{n}" for n in range(5)),
    }
    assert logs["lr/2"] == pytest.approx(0.1 * logs["lr"])


@pytest.mark.parametrize("stops", [(2,), (6,), (7,), (4, 4)])
@pytest.mark.parametrize("optim", ["adamw", "sgd"])
def test_a_run_in_pieces_ends_with_the_same_bits_whatever_the_stage(stops, optim):
    # In the frozen stage, at the boundary, in the thawed stage, in both.
    whole = in_pieces({**CFG, "work_dir": "whole"}, optim=optim)
    assert_same(whole, in_pieces(CFG, *stops, optim=optim))


def train_frozen(work_dir: str) -> list[float]:
    torch.set_num_threads(1)
    trainer = Staged({**CFG, "work_dir": work_dir, "resume": "never"}, batch_size=2)
    trainer.run()
    mine = torch.cat([one.detach().flatten() for one in trainer.model.parameters()])
    first, other = trainer.context.gather(mine) or (mine, mine)
    assert torch.equal(first, other)
    return [float(one) for one in mine]


@pytest.mark.distributed
def test_two_processes_thaw_alike():
    two = launch(train_frozen, 2, args=("two",), start_method="fork")
    assert len(two) == 3 * 6 + 6 + 6 + 6 + 6 * 3 + 3


@pytest.mark.distributed
def test_thawed_gradients_are_averaged_over_ranks():
    assert launch(without_norms, 2, start_method="fork") == pytest.approx(without_norms(), abs=1e-6)


def killed_once(work_dir: str, batch: int, rank: int) -> list[list[float]]:
    torch.set_num_threads(1)

    class Kill(Callback):
        left = batch

        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.left -= 1
            if self.left == 0 and comm.get_rank() == rank and not Path("done").exists():
                Path("done").touch()
                os.kill(os.getpid(), signal.SIGKILL)

    trainer = Staged({**CFG, "work_dir": work_dir}, Kill(), batch_size=2)
    trainer.run()
    state = trainer.optimizer.state_dict()["state"]
    kept = [*trainer.model.state_dict().values(), *(one["exp_avg"] for one in state.values())]
    return [one.flatten().tolist() for one in kept]


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("batch", [4, 7, 11])
def test_a_killed_rank_leaves_the_same_bits_in_every_stage(batch):
    whole = launch(killed_once, 2, args=("whole", 0, 0), start_method="fork")
    again = launch(killed_once, 2, args=("run", batch, 1), start_method="fork", max_restarts=1)
    assert Path("done").exists()
    assert again == whole


class Plain(Staged):
    """The same without a BatchNorm, so that two processes equal one."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        net = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
        freeze(net, ["0", "1"])
        return self.build_model_parallel(net)


def without_norms() -> list[float]:
    torch.set_num_threads(1)
    size = 4 // (torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1)
    trainer = Plain({**CFG, "resume": "never"}, batch_size=size, optim="sgd")
    trainer.run()
    return [float(one) for each in trainer.model.parameters() for one in each.detach().flatten()]


def test_parameters_that_an_optimizer_already_has_move_to_a_group_of_their_own():
    class Late(Staged):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            thaw(self.model, ["0", "1"])
            optimizer = super().build_optimizer(cfg, **kwargs)
            freeze(self.model, ["0", "1"])
            return optimizer

    trainer = Late({**CFG, "resume": "never"})
    trainer.run()
    ids = [id(one) for group in trainer.optimizer.param_groups for one in group["params"]]
    assert len(ids) == len(set(ids)) == 6


def test_a_pattern_that_names_nothing_is_told_with_the_nearest_name():
    class Named(Staged):
        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            net = nn.ModuleDict({"backbone": nn.Linear(3, 3), "head": nn.Linear(3, 3)})
            return self.build_model_parallel(net)

    with pytest.raises(ConfigError, match=r"matches 'backbonne'\. Did you mean 'backbone'\?"):
        Named({"num_epochs": 2, "work_dir": "run"}, Unfreeze(1, "backbonne")).run()


def test_what_is_not_frozen_cannot_thaw():
    with pytest.raises(ConfigError, match="nothing that matches is frozen"):
        Staged({"num_epochs": 2, "work_dir": "run"}, Unfreeze(1, "0")).run()


def test_an_epoch_beyond_the_run_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        Staged({**CFG, "num_epochs": 1, "resume": "never"}).run()
    assert "at_epoch=2: epochs count from 0 and the run has 1" in caplog.text


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([{"layers": "0"}], "does not say at_epoch and layers"),
        ([{"at_epoch": 1, "layers": "0", "lr_scal": 1}], "Did you mean 'lr_scale'"),
        ([{"at_epoch": -1, "layers": "0"}], "at_epoch"),
        ([{"at_epoch": 1, "layers": [3]}], "no list of names"),
        ("layer4", "does not say"),
        ([{"at_epoch": 1, "layers": "0", "lr_scale": 0}], "lr_scale"),
    ],
)
def test_a_wrong_key_is_told(value, match):
    with pytest.raises(ConfigError, match=match):
        Staged({**CFG, "unfreeze": value})
