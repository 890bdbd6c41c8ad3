"""What counts as an update, who hears of it, and what reaches a train_step of one's own."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.scheduler.build_scheduler import get_scheduler
from basetrainer.testing.host_reads import HostReads
from examples.gan import GanTrainer
from tests.engine.test_step import Gan
from tests.tiny import TinyTrainer, weights

QUIET: dict[str, Any] = {"num_epochs": 1, "progress": False}


class Hearing(Callback):
    """Notes each update: its number, that of the position, the batch, the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[int, int, int]] = []
        self.weights: list[Tensor] = []

    def on_optimizer_step(self, update: int, logs: Any = None) -> None:
        assert self.engine is not None
        self.heard.append((update, self.engine.position.update, self.engine.position.step))
        self.weights.append(weights(self.engine).clone())  # type: ignore[arg-type]


class Spoilt(TinyTrainer):
    """Some updates have a gradient that is not finite."""

    bad: tuple[int, ...] = ()
    scale = 1.0

    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        is_bad = self.model.training and self.position.step in self.bad
        return outputs, loss * (float("inf") if is_bad else self.scale)


@pytest.mark.parametrize("kind", ["skip", "fp16", "fused"])
def test_updates_that_are_left_out_count_nowhere(kind):
    cfg = {**QUIET, "slim_lambda": 0.1}
    cfg |= {"on_nonfinite": "skip", "log_freq": 0} if kind == "skip" else {"amp": "fp16"}
    cfg |= {"on_nonfinite": "skip" if kind == "skip" else "ignore"}
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    hearing, average = Hearing(), EMA(0.9)
    trainer = Spoilt(cfg, [hearing, average], num_samples=16, model=model)
    if kind == "fused":
        trainer.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    trainer.bad, trainer.scale = (1, 2), 1.0 if kind == "skip" else 1e-3  # no overflow otherwise
    schedule = get_scheduler("cosine_restarts", trainer.optimizer, 0.1, 1, 4)
    trainer.callbacks.append(schedule)
    rates: list[float] = []

    class Rates(Callback):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            rates.append(trainer.lr)

    trainer.callbacks.append(Rates())
    trainer.run()
    assert trainer.position.update == average.num_updates == 2
    assert [one[0] for one in hearing.heard] == [1, 2]
    assert [one[2] for one in hearing.heard] == [0, 3]
    assert rates == [schedule.lr_at(0, due) for due in (0, 1, 1, 1)]


def test_a_resume_in_an_epoch_with_updates_left_out_costs_no_bit(tmp_path):
    class Cut(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2 and self.engine is not None and not self.engine.position.epoch:
                self.engine.stop("cut", is_final=False)

    made: list[Spoilt] = []
    for name in ("whole", "cut", "cut"):
        cfg = {**QUIET, "on_nonfinite": "skip", "resume": "auto", "work_dir": str(tmp_path / name)}
        trainer = Spoilt(cfg, num_samples=24)
        trainer.bad = (1,)
        trainer.callbacks.append(
            get_scheduler("cosine_restarts", trainer.optimizer, 0.1, 1, trainer.num_steps)
        )
        if name == "cut" and len(made) == 1:
            trainer.callbacks.append(Cut())
        trainer.run()
        made.append(trainer)
    assert (made[1].position.step, made[1].position.update, made[1].position.skipped) == (3, 2, 1)
    assert torch.equal(weights(made[0]), weights(made[2]))
    assert made[0].position == made[2].position


def test_the_hook_comes_once_for_each_window_and_sees_the_changed_weights():
    hearing = Hearing()
    trainer = TinyTrainer({**QUIET, "accumulate_steps": 2}, [hearing])
    before = weights(trainer).clone()
    trainer.run()
    assert hearing.heard == [(1, 1, 1), (2, 2, 2)]
    assert not torch.equal(hearing.weights[0], before)
    assert torch.equal(hearing.weights[1], weights(trainer))


def test_several_optimizers_that_step_for_one_batch_take_one_update():
    hearing = Hearing()
    trainer = Gan(QUIET, [hearing], tests=False)
    trainer.run()
    assert hearing.heard == [(1, 1, 0), (2, 2, 1), (3, 3, 2)]


def test_an_optimizer_that_steps_in_turns_with_another_counts_its_batches():
    class Turns(Gan):
        def train_step(self, inputs: Any) -> Any:
            real, _ = inputs
            loss = self.model.module["critic"](real).square().mean()
            if self.position.step % 2:
                self.update(loss, len(real), self.optimizer["critic"])
            return None, loss

    hearing = Hearing()
    Turns(QUIET, [hearing], tests=False).run()
    assert hearing.heard == [(1, 1, 1)]


def test_a_callback_given_before_slim_sees_the_weights_as_they_stay():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    hearing = Hearing()
    trainer = TinyTrainer({**QUIET, "slim_lambda": 0.5}, [hearing, EMA(0.5)], model=model)
    trainer.run()
    assert torch.equal(hearing.weights[-1], weights(trainer))


class OwnStep(TinyTrainer):
    """Runs the forward pass, and looks at its precision."""

    def train_step(self, inputs: Any) -> Any:
        points, labels = inputs
        outputs = self.model(points)
        loss = functional.cross_entropy(outputs, labels)
        self.seen = outputs.dtype
        outputs.register_hook(lambda gradient: setattr(self, "backward", self.is_cast()))
        self.update(loss)
        self.again = self.model(points).dtype
        return outputs, loss

    def is_cast(self) -> bool:
        return torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("calls_alone", [False, True])
def test_mixed_precision_reaches_a_train_step_of_ones_own_and_not_its_backward(amp, calls_alone):
    class Trainer(OwnStep):
        backward = True

        def run_train_epoch(self, dataset: Any, logs: Any) -> None:
            if calls_alone:
                for inputs in dataset:
                    self.train_step(inputs)
            else:
                super().run_train_epoch(dataset, logs)

    trainer = Trainer({**QUIET, "amp": amp}, tests=False)
    trainer.run()
    half = torch.bfloat16 if amp == "bf16" else torch.float16
    assert (trainer.seen, trainer.again, trainer.backward) == (half, half, False)
    assert not trainer.is_cast()


def test_weights_that_changed_within_a_step_are_cast_anew():
    class Twice(TinyTrainer):
        def train_step(self, inputs: Any) -> Any:
            before = self.model(inputs[0])
            loss = functional.cross_entropy(before, inputs[1])
            self.update(loss)
            self.moved = (self.model(inputs[0]) - before).abs().max().item()
            return before, loss

    trainer = Twice({**QUIET, "amp": "bf16"}, tests=False, lr=1.0)
    trainer.run()
    assert trainer.moved > 0.05


def test_the_example_of_a_gan_trains_in_half_where_it_is_asked_to():
    class Seeing(GanTrainer):
        def generate(self, num_points: int) -> Tensor:
            points = super().generate(num_points)
            seen.add((self.model.training, points.dtype))
            return points

    seen: set[tuple[bool, torch.dtype]] = set()
    cfg = {**QUIET, "amp": "bf16", "batch_size": 1024, "num_workers": 0, "lr": 1e-3}
    Seeing(cfg).run()
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}


def test_a_step_of_a_base_class_that_is_no_trainer_is_a_step_too():
    class Mixin:
        def train_step(self, inputs: Any) -> Any:
            self.dtype_seen = self.model(inputs[0]).dtype  # type: ignore[attr-defined]
            return super().train_step(inputs)  # type: ignore[misc]

    class Trainer(Mixin, TinyTrainer):
        pass

    hearing = Hearing()
    trainer = Trainer({**QUIET, "amp": "bf16"}, [hearing])
    trainer.run()
    assert trainer.dtype_seen == torch.bfloat16
    assert [one[0] for one in hearing.heard] == [1, 2, 3]


class CountsOnDevice(TinyTrainer):
    def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> Tensor:
        count: Tensor = (inputs[1] >= 0).sum()
        return count


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_count_that_is_a_tensor_stays_on_the_device(accumulate):
    cfg = {**QUIET, "accumulate_steps": accumulate, "log_freq": 0}
    trainer = CountsOnDevice(cfg, [LossesRecorder()])
    plain = TinyTrainer(cfg, [LossesRecorder()])
    reads: list[Any] = []

    class Reading(Callback):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.found = HostReads()
            self.found.__enter__()

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.found.__exit__()
            reads.extend(self.found.reads)

    trainer.callbacks.append(Reading())
    trainer.run()
    plain.run()
    assert reads == []
    assert torch.allclose(weights(trainer), weights(plain), rtol=0, atol=1e-7)


def test_optimizers_that_were_replaced_are_let_go():
    class Staged(TinyTrainer):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
            refs.append(weakref.ref(self.optimizer))
            super().on_epoch_begin(epoch, logs)

    refs: list[Any] = []
    trainer = Staged({**QUIET, "num_epochs": 5})
    trainer.run()
    gc.collect()
    assert [one() is not None for one in refs] == [False] * 4 + [True]
    assert trainer.position.update == 15
