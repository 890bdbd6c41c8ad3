"""Hooks: declared once, dispatched once, checked when a class is made."""

from __future__ import annotations

from typing import Any

import pytest

from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.base import HOOKS, Base
from tests.tiny import TinyTrainer, Tracer


def test_there_are_thirteen_hooks():
    assert list(HOOKS) == [
        "set_model",
        "on_train_begin",
        "on_train_end",
        "on_epoch_begin",
        "on_epoch_end",
        "on_batch_begin",
        "on_batch_end",
        "on_optimizer_step",
        "on_train_summary",
        "on_test_begin",
        "on_test_summary",
        "on_test_end",
        "on_exception",
    ]


def test_a_misspelt_hook_is_said_when_the_class_is_created():
    with pytest.warns(UserWarning, match=r"Mine.on_epoch_ends is never called; did you mean on_ep"):

        class Mine(Callback):
            def on_epoch_ends(self, epoch: int, logs: Any = None) -> None: ...


def test_a_hook_of_another_library_is_said_too():
    with pytest.warns(UserWarning, match="did you mean on_(epoch|train)_end"):

        class Mine(Callback):
            def on_train_epoch_end(self) -> None: ...


def test_an_event_of_the_users_own_is_left_alone():
    class Mine(Callback):
        def on_new_best(self) -> None: ...

    assert issubclass(Mine, Base)


def test_a_hook_with_the_wrong_number_of_arguments_is_refused_when_the_class_is_created():
    with pytest.raises(TypeError, match=r"on_epoch_end\(self, epoch, logs\)"):

        class Mine(Callback):
            def on_epoch_end(self, logs: Any) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize("source", ["logs: dict = {}", "logs={}", "*args", "logs=None, more=1"])
def test_old_and_loose_signatures_are_accepted(source):
    namespace: dict[str, Any] = {"Callback": Callback}
    code = f"class Mine(Callback):\n    def on_train_begin(self, {source}): pass"
    exec(code, namespace)
    assert issubclass(namespace["Mine"], Base)


def test_signatures_and_docstrings_survive_for_help():
    assert Base.on_epoch_end.__doc__ == "Called when an epoch, its evaluation included, is over."
    assert Base.on_epoch_end.__name__ == "on_epoch_end"


def test_a_trainer_that_overrides_a_hook_passes_it_on_by_super():
    heard = []

    class Mine(TinyTrainer):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            heard.append(epoch)
            super().on_epoch_begin(epoch, logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            """Silences the callbacks."""

    tracer = Tracer()
    Mine({"num_epochs": 2, "progress": False}, [tracer]).run()
    assert heard == [0, 1]
    assert "on_epoch_begin(1)" in tracer.trace
    assert not any(one.startswith("on_epoch_end") for one in tracer.trace)


def test_a_callback_appended_in_the_middle_of_a_run_is_heard():
    tracer = Tracer()

    class Adder(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0 and self.engine is not None and len(self.engine.callbacks) == 1:
                self.engine.callbacks.append(tracer)

    TinyTrainer({"num_epochs": 1, "progress": False}, [Adder()], tests=False).run()
    assert tracer.trace[0] == "on_batch_begin(1)"


def test_a_hook_set_on_the_instance_is_heard():
    heard = []
    callback = Callback()
    callback.on_epoch_end = lambda epoch, logs=None: heard.append(epoch)  # type: ignore[method-assign]
    TinyTrainer({"num_epochs": 2, "progress": False}, [callback]).run()
    assert heard == [0, 1]


def test_an_engine_among_the_callbacks_passes_the_hooks_on():
    tracer = Tracer()
    inner = TinyTrainer({"progress": False}, [tracer])
    TinyTrainer({"num_epochs": 1, "progress": False}, [inner]).run()
    assert tracer.trace[0] == "on_train_begin()"


def test_a_callback_that_never_calls_super_init_works():
    class Old(Callback):
        def __init__(self) -> None:
            self.seen = 0

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen += self.is_main_process

    old = Old()
    trainer = TinyTrainer({"num_epochs": 1, "progress": False}, [old])
    trainer.run()
    assert old.seen == 3
    assert old.engine is trainer


def test_a_misspelt_builder_is_said_when_the_class_is_created():
    from basetrainer import EngineTrainer

    with pytest.warns(UserWarning, match="build_optimiser is never called; did you mean build_opt"):

        class Misspelt(EngineTrainer):
            def build_optimiser(self, cfg: Any, **kwargs: Any) -> None: ...

    class Own(EngineTrainer):  # both: the other one is a helper
        def build_model(self, cfg: Any, **kwargs: Any) -> None: ...
        def build_models(self) -> None: ...

    class Deeper(Own):
        def build_models(self) -> None: ...
