"""Two processes whose replicas are to stay alike: what keeps them so, and what tells otherwise."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.launch import launch
from basetrainer.errors import BaseTrainerError
from tests.tiny import TinyTrainer, weights

CFG: dict[str, Any] = {"num_epochs": 2, "progress": False, "gpu_id": [0, 1]}


def net() -> nn.Sequential:
    """Two layers, the same at every call."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))


class Unfreeze(Callback):
    """Lets the first layer learn from the second epoch on."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            for parameter in self.model.parameters():
                parameter.requires_grad_(True)


class Finetune(TinyTrainer):
    """Begins with a frozen first layer."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        self.learner = net()
        self.learner[0].requires_grad_(False)
        return self.build_model_parallel(self.learner, self.config.gpu_id)


class Around(TinyTrainer):
    """Calls the network inside the wrapper."""

    def run_step(self, inputs: Any) -> Any:
        points, labels = inputs
        outputs = getattr(self.model, "module", self.model)(points)
        return outputs, {"loss": self.criterion(outputs, labels)}


class Nudge(Callback):
    """Changes the last weight on rank 1 alone, in one hook."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        setattr(self, hook, self.change)

    def change(self, *args: Any, **kwargs: Any) -> None:
        if DistContext.current().rank == 1:
            with torch.no_grad():
                unwrap(self.model)[2].bias.add_(1.0)


class Learner(TinyTrainer):
    """Keeps the network beside its wrapper."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        self.learner = net()
        return self.build_model_parallel(self.learner, self.config.gpu_id)


class FrozenLate(Learner):
    """Freezes a layer that the wrapper waits for."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        model = super().build_model(cfg, **kwargs)
        self.learner[0].requires_grad_(False)
        return model


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def trained(made: type[TinyTrainer], callbacks: list[Any], batch_size: int) -> torch.Tensor:
    """The weights after a run."""
    trainer = made(CFG, callbacks, batch_size=batch_size, model=net(), shuffle=False)
    trainer.run()
    return weights(trainer)


def refused(made: type[TinyTrainer], callbacks: list[Any]) -> str:
    """The kind of the error of a run, and what it says."""
    try:
        made(CFG, callbacks, batch_size=2).run()
    except BaseTrainerError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def work() -> dict[str, Any]:
    heard = Heard()
    log = logging.getLogger("basetrainer.distributed.replicas")
    log.addHandler(heard)
    found: dict[str, Any] = {}
    found["unfrozen"] = trained(Finetune, [Unfreeze()], 2)
    found["told of unfrozen"] = list(heard.texts)
    found["around"] = trained(Around, [], 2)
    found["told of around"] = list(heard.texts)
    log.removeHandler(heard)
    found["epoch end"] = refused(Learner, [Nudge("on_epoch_end")])
    found["update"] = refused(Learner, [Nudge("on_optimizer_step")])
    found["frozen late"] = refused(FrozenLate, [])
    context = DistContext.current()
    return {name: context.gather(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def found() -> Any:
    """What both ranks of one launch have seen."""
    return launch(work, 2, start_method="fork")


@pytest.mark.distributed
def test_layers_that_are_unfrozen_in_a_run_learn_as_in_one_process(found):
    first, second = found["unfrozen"]
    assert torch.equal(first, second)
    alone = trained(Finetune, [Unfreeze()], 4)
    assert torch.allclose(first, alone, atol=1e-5)
    start = net()[0].weight.flatten()
    assert not torch.allclose(first[:12], start, atol=1e-3)
    assert found["told of unfrozen"] == [[], []]


@pytest.mark.distributed
def test_a_step_around_the_wrapper_averages_gradients_and_is_told_once(found):
    first, second = found["around"]
    assert torch.equal(first, second)
    assert torch.allclose(first, trained(Around, [], 4), atol=1e-5)
    for told in found["told of around"]:
        (text,) = told
        assert "did not call self.model" in text


@pytest.mark.distributed
@pytest.mark.parametrize("hook", ["epoch end", "update"])
def test_a_weight_that_differs_between_ranks_is_named(found, hook):
    first, second = found[hook]
    assert first == second
    assert first.startswith("UsageError: The weights of ranks 0 and 1 differ after epoch ")
    assert "2.bias is the first" in first


@pytest.mark.distributed
def test_layers_that_are_frozen_after_the_wrapper_are_refused_by_name(found):
    for text in found["frozen late"]:
        assert text.startswith("ConfigError: 0.weight was frozen after build_model_parallel")
