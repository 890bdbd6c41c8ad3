"""The order of hooks is public behaviour: a golden trace of one run."""

from __future__ import annotations

from typing import Any

import pytest

from basetrainer.callbacks.callbacks import Callback
from tests.tiny import TinyTrainer, Tracer

EPOCH = """\
set_model()
on_epoch_begin({e})
on_batch_begin(0)
on_optimizer_step({u[0]})
on_train_summary({e}, 0)
on_batch_end(0)
on_batch_begin(1)
on_optimizer_step({u[1]})
on_train_summary({e}, 1)
on_batch_end(1)
on_batch_begin(2)
on_optimizer_step({u[2]})
on_train_summary({e}, 2)
on_batch_end(2)
on_test_begin()
on_test_summary({e}, 0)
on_test_summary({e}, 1)
on_test_summary({e}, 2)
on_test_end()
on_epoch_end({e})
"""


def golden(num_epochs: int) -> list[str]:
    epochs = "".join(
        EPOCH.format(e=epoch, u=range(3 * epoch + 1, 3 * epoch + 4)) for epoch in range(num_epochs)
    )
    return ["on_train_begin()", *epochs.splitlines(), "on_train_end()"]


def test_hooks_come_in_the_golden_order():
    tracer = Tracer()
    TinyTrainer({"num_epochs": 2, "progress": False}, [tracer]).run()
    assert tracer.trace == golden(2)


def test_run_step_and_the_optimizer_come_between_batch_begin_and_train_summary():
    order: list[str] = []

    class Telling(TinyTrainer):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            order.append("begin")

        def run_step(self, inputs: Any) -> Any:
            order.append("run_step")
            return super().run_step(inputs)

        def on_train_summary(self, *args: Any) -> None:
            order.append("summary")

    trainer = Telling({"num_epochs": 1, "progress": False}, tests=False)
    trainer.optimizer.register_step_post_hook(lambda *_: order.append("optimizer"))
    trainer.model.weight.register_hook(lambda gradient: order.append("backward"))
    trainer.run()
    assert order == ["begin", "run_step", "backward", "optimizer", "summary"] * 3


def test_test_hooks_come_without_a_test_loader_but_no_test_figures():
    tracer = Tracer()
    logs = TinyTrainer({"num_epochs": 1, "progress": False}, [tracer], tests=False).run()
    assert [one for one in tracer.trace if "test" in one] == ["on_test_begin()", "on_test_end()"]
    assert "test" not in logs


def test_test_every_skips_evaluations_but_never_the_last_epoch():
    tracer = Tracer()
    cfg = {"num_epochs": 4, "progress": False, "test_every": 3}
    TinyTrainer(cfg, [tracer]).run()
    evaluated = [one for one in tracer.trace if one.startswith("on_test_summary")]
    assert evaluated == [f"on_test_summary({e}, {b})" for e in (2, 3) for b in range(3)]
    assert tracer.trace.count("on_test_begin()") == 4


def test_an_exception_is_heard_and_says_where_it_was():
    class Failing(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                raise ValueError("mine")

    tracer = Tracer()
    with pytest.raises(ValueError, match="mine") as caught:
        TinyTrainer({"num_epochs": 1, "progress": False}, [tracer, Failing()]).run()
    assert tracer.trace[-1] == "on_exception()"
    assert "on_train_end()" not in tracer.trace
    assert getattr(caught.value, "__notes__", ["epoch 1, step 1"])[0].endswith("epoch 1, step 1")


def test_stop_within_an_epoch_ends_the_run_at_the_next_step_without_an_evaluation():
    class Stopper(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1 and self.engine is not None:
                self.engine.stop("enough")

    tracer = Tracer()
    trainer = TinyTrainer({"num_epochs": 3, "progress": False}, [Stopper(), tracer])
    trainer.run()
    assert tracer.trace == [*golden(1)[:11], "on_train_end()"]
    assert trainer.stop_reason == "enough"
    assert (trainer.position.epoch, trainer.position.step) == (0, 2)


def test_stop_at_an_epochs_end_ends_the_run_with_that_epoch():
    class Stopper(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if self.engine is not None:
                self.engine.stop("enough")

    tracer = Tracer()
    TinyTrainer({"num_epochs": 3, "progress": False}, [Stopper(), tracer]).run()
    assert tracer.trace == golden(1)
