"""Signals end a run at a step, with a checkpoint, and leave everything else as it was."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.resume.signals import INTERRUPT, PREEMPT, Signals
from basetrainer.errors import Preempted
from tests.engine.resume.test_origin import CFG, Trainer, everything
from tests.trees import assert_same

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


class RaiseAt(Callback):
    """Sends this process a signal at the n-th call of a hook."""

    def __init__(self, hook: str, number: int = signal.SIGTERM, after: int = 1) -> None:
        super().__init__()
        self.left = after

        def heard(*args: Any) -> None:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(number)

        setattr(self, hook, heard)


def without_raiser(tree: Any) -> Any:
    """Leave out the callback that the other run has not."""
    for rank in tree["ranks"]:
        rank["callbacks"].pop("RaiseAt", None)
    return tree


HOOKS = {
    "on_train_begin": 1,
    "on_batch_begin": 5,
    "on_train_summary": 6,
    "on_batch_end": 12,
    "on_test_begin": 2,
    "on_test_summary": 3,
    "on_test_end": 1,
    "on_epoch_end": 2,
    "on_epoch_begin": 3,
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_anywhere_saves_ends_and_costs_no_bit(hook, name):
    whole = Trainer({**CFG, "work_dir": "whole"})
    expected = everything(whole, whole.run())
    number = getattr(signal, name)
    before = signal.getsignal(number)
    error = KeyboardInterrupt if name == "SIGINT" else Preempted
    trainer = Trainer(CFG, RaiseAt(hook, number, HOOKS[hook]))
    with pytest.raises(error, match=r"goes on from update-0\S* in run/checkpoints"):
        trainer.run()
    assert signal.getsignal(number) is before
    again = Trainer(CFG)
    assert_same(without_raiser(everything(again, again.run())), expected)


def test_exit_codes_are_those_of_the_field():
    assert Preempted.exit_code == 75


def test_a_run_in_a_notebook_goes_on_in_the_same_kernel():
    trainer = Trainer(CFG, RaiseAt("on_batch_end", signal.SIGINT, 4))
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    logs = trainer.run()
    found = without_raiser(everything(trainer, logs))  # before another trainer seeds generators
    whole = Trainer({**CFG, "work_dir": "whole"})
    assert_same(found, everything(whole, whole.run()))


def test_a_second_ctrl_c_leaves_at_once_but_two_within_a_second_are_one():
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # a launcher passes on what the terminal sent, too
        assert signals.request == INTERRUPT
        signals._pressed -= 2.0
        with pytest.raises(KeyboardInterrupt, match="twice"):
            signal.raise_signal(signal.SIGINT)


def test_a_stronger_request_counts_and_a_weaker_one_does_not():
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert (signals.request, signals.name) == (INTERRUPT, "SIGINT")
    with Signals() as signals:
        signal.raise_signal(signal.SIGUSR1)
        assert (signals.request, signals.name) == (PREEMPT, "SIGUSR1")


def test_off_the_main_thread_no_handler_is_touched():
    before = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    def work() -> None:
        trainer = Trainer(CFG)
        trainer.run()
        seen.append((trainer.position.epoch, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(3, before)]


def test_a_run_without_checkpoints_leaves_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    class Look(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen.append(signal.getsignal(signal.SIGTERM))

    Trainer({**CFG, "resume": "never"}, Look()).run()
    assert seen == [before]


def test_a_test_is_left_at_the_next_batch():
    seen: list[int] = []

    class Slow(Callback):
        def on_test_summary(self, inputs, outputs, losses, epoch, batch, logs=None) -> None:
            seen.append(batch)

    trainer = Trainer(CFG, RaiseAt("on_test_summary", after=2), Slow())
    with pytest.raises(Preempted):
        trainer.run()
    assert seen == [0, 1]
    assert (trainer.position.epoch, trainer.position.step) == (0, 6)
