"""LossesRecorder and MultiLossesRecorder: means over samples, right whenever they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.errors import UsageError
from basetrainer.utils.meters import Mean
from tests.tiny import TinyTrainer, tiny_data

QUIET = {"num_epochs": 1, "progress": False}


def test_the_test_loss_is_the_mean_over_samples_not_over_batches():
    trainer = TinyTrainer(QUIET, [LossesRecorder()], batch_size=5)  # 5, 5, 2
    logs = trainer.run()
    points, labels = tiny_data().tensors
    expected = nn.functional.cross_entropy(trainer.model(points), labels)
    assert logs["test"]["loss"] == pytest.approx(float(expected.detach()), rel=1e-6)


def test_figures_are_right_at_every_step_however_they_are_read():
    seen: list[float] = []
    expected: list[float] = []

    class Reader(Callback):
        def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
            expected.append(float(losses.detach()))

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            ways = [
                logs["train"]["loss"],
                dict(logs["train"])["loss"],
                {**logs["train"]}["loss"],
                json.loads(json.dumps(logs["train"]))["loss"],
                eval(f"{logs['train']}")["loss"],
            ]
            assert len(set(ways)) == 1
            seen.append(ways[0])

    TinyTrainer(QUIET, [LossesRecorder(), Reader()]).run()
    means = [sum(expected[: n + 1]) / (n + 1) for n in range(3)]
    assert seen == pytest.approx(means, rel=1e-6)


def test_losses_of_a_dict_count_by_their_sum():
    class Trainer(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, {"a": loss, "b": 2 * loss}

    logs = Trainer(QUIET, [LossesRecorder("total"), LossesRecorder()]).run()
    assert logs["test"]["total"] == logs["test"]["loss"]
    plain = TinyTrainer(QUIET, [LossesRecorder()], lr=0.3)
    assert logs["test"]["loss"] == pytest.approx(3 * plain.run()["test"]["loss"], rel=0.2)


def test_loss_count_weighs_the_recorded_loss_too():
    class Trainer(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, loss * 0 + len(inputs[0])  # 5, 5, 2

        def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> Any:
            return torch.tensor(10.0) if len(inputs[0]) == 2 else 1.0

    logs = Trainer(QUIET, [LossesRecorder()], batch_size=5).run()
    assert logs["test"]["loss"] == pytest.approx((5 + 5 + 20) / 12)


class Multi(TinyTrainer):
    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        return outputs, {"box": 0 * loss + 1.0, "cls": 0 * loss + 2.0, "aux": 0 * loss}


def test_groups_have_totals_where_there_are_two_or_more():
    groups = {"loss": ["box", "cls"], "more": ["aux"], "single": "cls"}
    logs = Multi(QUIET, [MultiLossesRecorder(groups)]).run()
    assert logs["test"] == {
        "loss": {"box": 1.0, "cls": 2.0, "total_loss": 3.0},
        "more": {"aux": 0.0},
        "single": {"cls": 2.0},
    }
    assert logs["train"] == logs["test"]


def test_without_groups_every_loss_is_recorded_under_loss():
    logs = Multi(QUIET, [MultiLossesRecorder()]).run()
    assert logs["test"]["loss"] == {"box": 1.0, "cls": 2.0, "aux": 0.0, "total_loss": 3.0}


def test_a_misspelt_loss_and_a_loss_that_is_no_dict_are_explained():
    with pytest.raises(UsageError, match="Did you mean 'box'"):
        Multi(QUIET, [MultiLossesRecorder({"loss": ["bax"]})]).run()
    with pytest.raises(UsageError, match="as a dict"):
        TinyTrainer(QUIET, [MultiLossesRecorder()]).run()


def test_recorders_work_in_a_loop_of_the_users_own():
    recorder = LossesRecorder()
    logs: dict[str, Any] = {}
    batch = tiny_data()[:4]
    for loss in (1.0, 2.0):
        recorder.on_train_summary(batch, None, torch.tensor(loss), 0, 0, logs)
    assert logs["train"]["loss"] == 1.5


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.integers(0, 9)), max_size=200),
    st.sets(st.integers(0, 199)),
)
def test_a_mean_does_not_depend_on_when_it_is_read(pairs, reads):
    often, once = Mean(), Mean()
    for place, (value, weight) in enumerate(pairs):
        for mean in (often, once):
            mean.add(torch.tensor(value), weight)
        if place in reads:
            often.compute()
    assert often.compute() == once.compute()
    total = sum(weight for _, weight in pairs)
    if total:
        expected = sum(value * weight for value, weight in pairs) / total
        assert once.compute() == pytest.approx(expected, abs=1e-9)
    else:
        assert once.compute() is None


def test_held_losses_are_safe_against_in_place_writes():
    mean = Mean()
    value = torch.tensor(1.0)
    mean.add(value)
    value.fill_(9.0)
    assert mean.compute() == 1.0
