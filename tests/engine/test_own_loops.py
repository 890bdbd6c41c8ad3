"""Loops of the user's own: whatever is replaced, an epoch's books are kept."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.errors import Preempted, UsageError
from basetrainer.scheduler.build_scheduler import get_scheduler
from tests.tiny import TinyTrainer, Tracer, weights

QUIET: dict[str, Any] = {"num_epochs": 2, "progress": False}


class Scheduled(TinyTrainer):
    """Has a learning rate that changes with each update, and notes those that were used."""

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        self.rates: list[float] = []
        schedule = get_scheduler(
            "cosine_restarts", self.optimizer, 0.1, self.num_epochs, max(self.num_steps, 1)
        )
        self.optimizer.register_step_pre_hook(lambda *_: self.rates.append(self.lr))
        return [*self.given_callbacks, LossesRecorder(), schedule]


class Plain(Scheduled):
    """No hooks of a batch at all."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        self.model.train()
        for inputs in dataset:
            self.train_step(self.to_device(inputs))


class Hooked(Scheduled):
    """Numbers its batches from 0, also in an epoch that it resumes."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        self.model.train()
        for step, inputs in enumerate(self.batches(dataset, "Training")):
            self.on_batch_begin(step, logs)
            outputs, losses = self.train_step(inputs)
            self.on_train_summary(inputs, outputs, losses, self.epoch, step, logs)
            self.on_batch_end(step, logs)


class Mapped(Scheduled):
    """Hands a generator on to the loop that there is."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        super().run_train_epoch(((points, labels) for points, labels in dataset), logs)


class ByHand(Scheduled):
    """Steps the optimizer itself."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        self.model.train()
        for inputs in dataset:
            self.optimizer.zero_grad()
            self.run_step(inputs)[1].backward()
            self.optimizer.step()


class UpdateAlone(Scheduled):
    """Calls update without train_step."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        self.model.train()
        for inputs in self.batches(self.train_loader, "Mine"):
            self.update(self.run_step(inputs)[1])


OWN = [Plain, Hooked, Mapped, UpdateAlone]


def left(trainer: Any) -> tuple[Any, ...]:
    averages = [one for one in trainer.callbacks if type(one).__name__ == "EMA"]
    average = averages[0].averaged_state()["weight"].tolist() if averages else None
    return weights(trainer).tolist(), trainer.position, trainer.rates, average


@pytest.mark.parametrize("kind", [*OWN, ByHand])
def test_a_loop_of_ones_own_is_counted_scheduled_and_averaged_like_the_one_there_is(kind):
    made = [one({**QUIET, "ema_decay": 0.9}) for one in (Scheduled, kind)]
    for trainer in made:
        trainer.run()
    assert left(made[0]) == left(made[1])
    assert made[1].position.update == 6
    assert len(set(made[1].rates)) > 4


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_windows_of_accumulation_reach_a_loop_of_ones_own(kind, accumulate):
    cfg = {**QUIET, "accumulate_steps": accumulate}
    made = [one(cfg, num_samples=28) for one in (Scheduled, kind)]  # 7 batches
    for trainer in made:
        trainer.run()
    assert left(made[0]) == left(made[1])
    assert made[1].position.update == 2 * -(-7 // accumulate)


def signalling(kind: type[Scheduled], at: int | None) -> type[Scheduled]:
    class Signalled(kind):  # type: ignore[valid-type,misc]
        steps = 0

        def run_step(self, inputs: Any) -> Any:
            self.steps += self.model.training
            if self.steps == at and self.model.training:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().run_step(inputs)

    return Signalled


@pytest.mark.parametrize("kind", [Scheduled, *OWN, ByHand])
@pytest.mark.parametrize("at", [2, 3, 5])
def test_sigterm_in_a_loop_of_ones_own_saves_ends_and_costs_no_bit(tmp_path, kind, at):
    cfg = {**QUIET, "resume": "auto", "ema_decay": 0.9}
    whole = kind({**cfg, "work_dir": str(tmp_path / "whole")})
    whole.run()
    cfg["work_dir"] = str(tmp_path / "cut")
    cut = signalling(kind, at)(cfg)
    with pytest.raises(Preempted):
        cut.run()
    ended = json.loads((tmp_path / "cut" / "exit.json").read_text())
    assert (ended["code"], ended["reason"], ended["update"]) == (75, "preempted", at)
    assert (ended["epoch"], ended["step"]) == (at // 4, at % 3 if at > 3 else at)
    again = kind(cfg)
    again.run()
    assert left(again)[0] == left(whole)[0]
    assert left(again)[1] == left(whole)[1]
    assert left(again)[3] == left(whole)[3]
    assert cut.rates + again.rates == whole.rates


def looping(loop: Callable[[Any, Any], None], kind: type[TinyTrainer] = TinyTrainer) -> Any:
    class Looping(kind):  # type: ignore[valid-type,misc]
        def run_train_epoch(self, dataset: Any, logs: Any) -> None:
            self.model.train()
            loop(self, dataset)

    return Looping


def leaves_by_break(trainer: Any, dataset: Any) -> None:
    for number, inputs in enumerate(dataset):
        trainer.train_step(inputs)
        if number == 2:
            break


def takes_a_slice(trainer: Any, dataset: Any) -> None:
    for inputs in itertools.islice(dataset, 3):
        trainer.train_step(inputs)


def zips_with_less(trainer: Any, dataset: Any) -> None:
    for inputs, _ in zip(dataset, range(3), strict=False):
        trainer.train_step(inputs)


@pytest.mark.parametrize("loop", [leaves_by_break, takes_a_slice, zips_with_less])
def test_an_epoch_that_is_left_early_ends_its_window_and_is_whole_to_the_run(loop):
    cfg = {"num_epochs": 1, "progress": False, "accumulate_steps": 2}
    made = looping(loop)(cfg, num_samples=28, shuffle=False)
    seen: list[int] = []

    class Seeing(Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            assert self.engine is not None
            seen.append(self.engine.position.step)

    made.callbacks.append(Seeing())
    made.run()
    assert (made.position.epoch, made.position.update, seen) == (1, 2, [3])
    short = TinyTrainer(cfg, num_samples=12, shuffle=False)
    data = torch.utils.data.Subset(made.train_loader.dataset, range(12))
    short.train_loader = made.build_dataloader(data, 4, 0, shuffle=False)
    short.run()
    assert torch.equal(weights(made), weights(short))


def test_batches_that_are_passed_over_are_taken_and_their_window_is_closed():
    def loop(trainer: Any, dataset: Any) -> None:
        for number, inputs in enumerate(dataset):
            if number != 1:  # the one that its window ends with
                trainer.train_step(inputs)

    made = looping(loop)({"num_epochs": 1, "progress": False, "accumulate_steps": 2})
    made.run()
    assert (made.position.epoch, made.position.update) == (1, 2)


def test_a_look_at_the_batches_before_training_changes_nothing():
    def loop(trainer: Any, dataset: Any) -> None:
        next(iter(dataset))
        assert sum(len(points) for points, _ in dataset) == 12
        for inputs in dataset:
            trainer.train_step(inputs)

    made = [looping(loop)(QUIET), TinyTrainer(QUIET)]
    for trainer in made:
        trainer.run()
    assert torch.equal(weights(made[0]), weights(made[1]))
    assert made[0].position.update == 6


def test_a_second_pass_is_counted_said_once_and_never_resumed_in(tmp_path, caplog):
    def loop(trainer: Any, dataset: Any) -> None:
        for _ in range(2):
            for inputs in dataset:
                trainer.train_step(inputs)

    cfg = {**QUIET, "resume": "auto"}
    whole = looping(loop, Scheduled)({**cfg, "work_dir": str(tmp_path / "whole")})
    whole.run()
    assert whole.position.update == 12
    assert caplog.text.count("a second pass over its dataset") == 1
    cfg["work_dir"] = str(tmp_path / "cut")
    with pytest.raises(Preempted):
        signalling(looping(loop, Scheduled), 11)(cfg).run()  # in the second epoch's second pass
    again = looping(loop, Scheduled)(cfg)
    again.run()
    assert left(again)[:2] == left(whole)[:2]


def test_batches_from_elsewhere_are_said_and_refused_where_windows_are_needed(caplog):
    def loop(trainer: Any, dataset: Any) -> None:
        for inputs in trainer.train_loader:
            trainer.train_step(inputs)

    made = looping(loop)(QUIET)
    made.run()
    assert (made.position.epoch, made.position.update) == (2, 6)
    assert caplog.text.count("not taken from its dataset") == 1
    with pytest.raises(UsageError, match=r"accumulate_steps: 2 needs the batches of the dataset"):
        looping(loop)({**QUIET, "accumulate_steps": 2}).run()


def test_reading_ahead_of_training_is_said(caplog):
    def loop(trainer: Any, dataset: Any) -> None:
        ahead = None
        for inputs in dataset:
            if ahead is not None:
                trainer.train_step(ahead)
            ahead = inputs
        trainer.train_step(ahead)

    made = looping(loop)(QUIET)
    made.run()
    assert made.position.update == 6
    assert "were taken from it earlier" in " ".join(caplog.text.split())


def test_an_epoch_that_trains_nothing_is_said_once(caplog):
    made = looping(lambda trainer, dataset: None)({**QUIET, "num_epochs": 3})
    made.run()
    assert caplog.text.count("has trained nothing") == 1


def test_hand_made_steps_within_a_window_are_said(caplog):
    ByHand({**QUIET, "accumulate_steps": 2}).run()
    assert caplog.text.count("accumulate_steps: 2 does not reach an optimizer") == 1


def test_nan_is_found_at_a_log_point_of_a_loop_of_ones_own():
    class Spoilt(Plain):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, loss * (float("nan") if self.position.step == 1 else 1.0)

    with pytest.raises(ArithmeticError, match="at epoch 1, step 1"):
        Spoilt({**QUIET, "log_freq": 2}).run()


def test_a_stop_ends_a_loop_of_ones_own_and_the_run():
    class Stopper(Callback):
        def on_optimizer_step(self, update: int, logs: Any = None) -> None:
            if update == 2 and self.engine is not None:
                self.engine.stop("enough")

    made = Plain({**QUIET, "num_epochs": 100}, [Stopper()])
    made.run()
    assert (made.position.epoch, made.position.step, made.position.update) == (0, 2, 2)


def test_a_run_of_ones_own_may_hand_the_loader_to_the_loop_that_there_is():
    class Old(TinyTrainer):
        def run(self, logs: Any = None) -> Any:
            logs = {}
            self.on_train_begin(logs)
            for epoch in range(self.num_epochs):
                self.epoch = epoch
                self.on_epoch_begin(epoch, logs)
                self.run_train_epoch(self.train_loader, logs)
                self.on_test_begin(logs)
                self.run_test_epoch(self.test_loader, logs)
                self.on_test_end(logs)
                self.on_epoch_end(self.epoch, logs)
            self.on_train_end(logs)
            return logs

    tracer, made = Tracer(), []
    for kind in (Old, TinyTrainer):
        trainer = kind({**QUIET, "accumulate_steps": 2}, [LossesRecorder(), tracer])
        made.append((trainer.run()["train"], weights(trainer).tolist(), trainer.position.update))
    assert made[0] == made[1]
    assert made[0][2] == 4


def test_an_attribute_of_the_loader_can_be_read_from_the_dataset():
    sizes = []

    def loop(trainer: Any, dataset: Any) -> None:
        sizes.append((len(dataset), dataset.batch_size, len(dataset.dataset)))
        for inputs in dataset:
            trainer.train_step(inputs)

    looping(loop)({**QUIET, "num_epochs": 1}).run()
    assert sizes == [(3, 4, 12)]


class Unsized:
    """Three batches, whose number nobody tells."""

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            yield torch.randn(4, 3, generator=generator), torch.arange(4) % 3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_stop_in_the_last_step_of_a_loader_without_length_ends_a_whole_epoch(accumulate):
    class Stopper(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2 and self.engine is not None:
                self.engine.stop("enough")

    cfg = {**QUIET, "num_epochs": 5, "accumulate_steps": accumulate}
    made = TinyTrainer(cfg, [Stopper(), LossesRecorder()])
    made.train_loader = Unsized()
    logs = made.run()
    assert made.position.epoch == 1
    assert "loss" in logs["test"]


def test_figures_can_be_written_before_a_recorder_has_heard():
    class Writer(Callback):
        def on_train_summary(self, *args: Any) -> None:
            args[-1]["train"]["mine"] = 3.0

    assert TinyTrainer(QUIET, [Writer(), LossesRecorder()]).run()["train"]["mine"] == 3.0


def test_a_second_run_without_anything_to_train_returns_the_last_logs():
    trainer = TinyTrainer(QUIET, [LossesRecorder()])
    logs = trainer.run()
    assert logs["test"]["loss"] > 0
    assert trainer.run() is logs


def test_a_network_that_a_loop_of_ones_own_never_trains_is_not_tested_in_the_place_of_another():
    made = ByHand({**QUIET, "num_epochs": 8, "ema_decay": 0.5}, lr=0.5, model=nn.Linear(3, 3))
    before = weights(made).clone()
    average: Any = next(one for one in made.callbacks if type(one).__name__ == "EMA")
    made.run()
    assert not torch.allclose(average.averaged_state()["weight"].flatten(), before[:9])
