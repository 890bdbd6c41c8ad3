"""Evaluation runs in inference mode, which data, hooks and models can live with or switch off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.errors import UsageError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.tiny import TinyTrainer

QUIET = {"num_epochs": 2, "progress": False}


@pytest.mark.parametrize("inference", [True, False])
def test_outputs_are_inference_tensors_unless_that_is_off_and_inputs_never_are(inference):
    seen = []

    class Reader(Callback):
        def on_test_summary(self, inputs, outputs, losses, epoch, batch, logs=None):
            seen.append((outputs.is_inference(), inputs[0].is_inference(), outputs.requires_grad))

    cfg = {**QUIET, "inference_mode": inference}
    logs = TinyTrainer(cfg, [Reader(), LossesRecorder(), AccuracyRecorder()]).run()
    assert set(seen) == {(inference, False, False)}
    assert logs["test"]["loss"] > 0


def test_both_modes_give_the_same_figures():
    found = [
        TinyTrainer({**QUIET, "inference_mode": on}, [LossesRecorder(), AccuracyRecorder()]).run()
        for on in (True, False)
    ]
    assert found[0]["test"] == found[1]["test"]


def test_a_hook_can_make_gradients_of_its_own():
    sizes: list[float] = []

    class Saliency(Callback):
        def on_test_summary(self, inputs, outputs, losses, epoch, batch, logs=None):
            with torch.inference_mode(False), torch.enable_grad():
                points = inputs[0].clone().requires_grad_()
                trainer.model(points).sum().backward()
            sizes.append(points.grad.abs().sum().item())

    trainer = TinyTrainer(QUIET, [Saliency()])
    trainer.run()
    assert min(sizes) > 0


class Keeping(nn.Module):
    """Makes a table when it is first called, as rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.table: Any = None

    def forward(self, points: torch.Tensor) -> Any:
        if self.table is None or not self.training:
            self.table = torch.ones(3, 3)
        return self.linear(points) @ self.table


def test_a_model_that_keeps_tensors_of_an_evaluation_is_explained_and_can_switch_it_off():
    with pytest.raises(UsageError, match="set inference_mode: False"):
        TinyTrainer(QUIET, model=Keeping()).run()
    TinyTrainer({**QUIET, "inference_mode": False}, model=Keeping()).run()


class Penalised(TinyTrainer):
    """Adds the size of the gradient of the inputs to the loss, in evaluation too."""

    def run_step(self, inputs: Any) -> tuple[Any, Any]:
        with torch.enable_grad():
            points = inputs[0].clone().requires_grad_()
            outputs = self.model(points)
            (slope,) = torch.autograd.grad(outputs.sum(), points, create_graph=self.model.training)
        return outputs, self.criterion(outputs, inputs[1]) + slope.square().mean()


def test_a_test_step_that_needs_gradients_is_told_how_to_get_them():
    with pytest.raises(UsageError, match=r"not require grad.*set inference_mode: False"):
        Penalised(QUIET, [LossesRecorder()]).run()
    logs = Penalised({**QUIET, "inference_mode": False}, [LossesRecorder()]).run()
    assert logs["test"]["loss"] > 0


def test_a_training_step_without_gradients_is_not_told_of_inference_mode():
    class Detached(TinyTrainer):
        def run_step(self, inputs: Any) -> tuple[Any, Any]:
            outputs, loss = super().run_step(inputs)
            return outputs, loss.detach()

    with pytest.raises(Exception, match="grad") as caught:
        Detached(QUIET).run()
    assert "inference_mode" not in str(caught.value)


class Remembers(Dataset[Any]):
    """Keeps every sample that it has made, for training and evaluation alike."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index not in self.kept:
            self.kept[index] = (torch.ones(1, 3) * index, torch.tensor([index % 3]))
        return self.kept[index]


def test_data_made_during_an_evaluation_may_be_trained_with():
    data = Remembers()

    class OneByOne(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return [data[1]]

        def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return torch.utils.data.DataLoader(data, batch_size=None)

        def run_train_epoch(self, dataset: Any, logs: Any) -> None:
            super().run_train_epoch([data[index] for index in range(4)], logs)

    OneByOne({**QUIET, "num_epochs": 1}).run()
    made = OneByOne({**QUIET, "num_epochs": 1})
    data.kept.clear()
    made.test()
    assert not any(points.is_inference() for points, _ in data.kept.values())
    made.run()
