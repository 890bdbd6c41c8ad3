"""SWA: the mean of the last epochs' weights is tested and saved, with BatchNorms of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from basetrainer import EMA, SWA, ConfigError, launch
from basetrainer.callbacks.callbacks import Callback
from tests.callbacks.staged import CFG, Staged, assert_same, tree_of
from tests.tiny import StopAt, tiny_data

PLAIN = {**CFG, "unfreeze": None}


class ByHand(Callback):
    """Averages by torch's class, to compare with."""

    def __init__(self) -> None:
        super().__init__()
        self.average: Any = None
        self.rates: list[float] = []

    def on_optimizer_step(self, update: int, logs: Any = None) -> None:
        assert self.engine is not None
        self.rates.append(self.engine.optimizer.param_groups[0]["lr"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        assert self.engine is not None
        if epoch >= 2:
            self.average = self.average or AveragedModel(self.engine.model)
            self.average.update_parameters(self.engine.model)


def test_it_equals_torch_and_takes_the_statistics_over_the_training_data():
    hand, swa = ByHand(), SWA(start_epoch=2, lr=0.01)
    trainer = Staged({**PLAIN, "resume": "never"}, swa, hand, shuffle=False)
    logs = trainer.run()
    model = hand.average.module
    for name, value in model.named_parameters():
        torch.testing.assert_close(swa.averaged_state()[name], value.detach())
    points, targets = tiny_data().tensors
    batches = model[0](points).split(4)
    mean = torch.stack([one.mean(0) for one in batches]).mean(0)
    variance = torch.stack([one.var(0) for one in batches]).mean(0)
    torch.testing.assert_close(swa.averaged_state()["1.running_mean"], mean.detach())
    torch.testing.assert_close(swa.averaged_state()["1.running_var"], variance.detach())
    saved = torch.load(next(Path("run/model").glob("latest*.pth")), weights_only=True)
    saved = saved.get("model", saved)
    torch.testing.assert_close(saved["0.weight"], model[0].weight.detach())
    torch.testing.assert_close(saved["1.running_mean"], mean.detach())
    model.load_state_dict(swa.averaged_state())
    loss = nn.functional.cross_entropy(model.eval()(points), targets)
    assert logs["test"]["loss"] == pytest.approx(loss.item(), abs=1e-6)


def test_the_rate_is_its_own_from_its_epoch_on():
    rates: list[float] = []

    class Rates(Callback):
        def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None) -> None:
            rates.append(logs["lr"])

    Staged({**PLAIN, "resume": "never"}, Rates(), SWA(2, lr=0.007)).run()
    assert rates[6:] == [0.007] * 6
    assert 0.007 not in rates[:6]


@pytest.mark.parametrize("stops", [(4,), (7,), (9,), (10,), (3, 5)])
def test_a_run_in_pieces_ends_with_the_same_bits(stops):
    def run(folder: str, *stops: int) -> Any:
        cfg = {**PLAIN, "work_dir": folder}
        for stop in stops:
            Staged(cfg, StopAt(stop), SWA(2, lr=0.01)).run()
        trainer = Staged(cfg, SWA(2, lr=0.01))
        return tree_of(trainer, trainer.run())

    assert_same(run("whole"), run("run", *stops))


def test_the_pass_over_the_data_does_not_change_the_training():
    plain = Staged({**PLAIN, "resume": "never"})
    plain.run()
    averaged = Staged({**PLAIN, "resume": "never"}, SWA(1))
    averaged.run()
    assert_same(plain.model.state_dict(), averaged.model.state_dict())


def test_what_cannot_be_averaged_is_told():
    with pytest.raises(ConfigError, match="none would be averaged"):
        Staged({**PLAIN, "resume": "never"}, SWA(4)).run()
    with pytest.raises(ConfigError, match="Leave one of them out"):
        Staged({**PLAIN, "resume": "never"}, SWA(1), EMA(0.9)).run()
    with pytest.raises(ConfigError, match="lr"):
        SWA(1, lr=-1.0)


def averaged(work_dir: str) -> list[list[float]]:
    torch.set_num_threads(1)
    swa = SWA(2, lr=0.01)
    trainer = Staged({**PLAIN, "resume": "never", "work_dir": work_dir}, swa, batch_size=2)
    trainer.run()
    mine = [one.flatten() for one in swa.averaged_state().values()]
    ranks = trainer.context.gather(mine) or [mine, mine]
    for one, other in zip(*ranks, strict=True):
        assert torch.equal(one, other)
    return [one.tolist() for one in mine]


@pytest.mark.distributed
def test_two_processes_have_the_same_mean_and_the_same_statistics():
    assert launch(averaged, 2, args=("run",), start_method="fork")


@pytest.mark.parametrize("stops", [(7,), (10,)])
def test_it_is_resumed_where_epochs_are_cut_from_a_stream(stops):
    def run(folder: str, *stops: int) -> Any:
        cfg = {**PLAIN, "work_dir": folder, "steps_per_epoch": 4}
        for stop in stops:
            Staged(cfg, StopAt(stop), SWA(1)).run()
        trainer = Staged(cfg, SWA(1))
        return tree_of(trainer, trainer.run())

    assert_same(run("whole"), run("run", *stops))
