"""What recorders hold between two reads is theirs: nobody writes to it, and it is small."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.engine.nonfinite import _MOST as _MOST_LOSSES
from basetrainer.engine.nonfinite import NonFiniteGuard
from basetrainer.errors import NonFiniteError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.metric.confusion_tally import _HELD_BATCHES, _HELD_BYTES
from basetrainer.utils.meters import _MOST as _MOST_VALUES
from basetrainer.utils.meters import Mean
from tests.tiny import TinyTrainer, tiny_data

QUIET = {"num_epochs": 1, "progress": False, "log_freq": 0}
BIG = 1_000_000


def figures(kind: type[TinyTrainer] = TinyTrainer, *more: Callback, **options: Any) -> Any:
    """Return train and test figures of a run whose weights do not change."""
    recorders = [LossesRecorder(), AccuracyRecorder(topk=(2,)), *more]
    torch.manual_seed(3)
    logs = kind(QUIET, recorders, lr=0.0, batch_size=5, **options).run()
    return {phase: dict(logs[phase]) for phase in ("train", "test")}


def same(one: Any, other: Any) -> bool:
    return all(
        one[phase][name] == pytest.approx(other[phase][name], abs=1e-6)
        for phase in other
        for name in other[phase]
    )


class Vandal(Callback):
    """Writes into everything it is given, after the recorders."""

    def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
        for tensor in (outputs, losses, inputs[1]):
            tensor.detach().zero_()

    on_test_summary = on_train_summary


def test_a_callback_that_writes_into_outputs_losses_and_labels_changes_no_figure():
    # A dataset's own tensors are never written to: a loader makes its batches anew.
    assert same(figures(TinyTrainer, Vandal()), figures())


class Reusing(TinyTrainer):
    """Uses one buffer for outputs, losses and labels of all test batches."""

    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        if self.model.training:
            return outputs, loss
        if not hasattr(self, "buffers"):
            self.buffers = torch.empty(5, 3), torch.empty(())
        for buffer, value in zip(self.buffers, (outputs, loss), strict=True):
            buffer[: len(value)].copy_(value) if value.ndim else buffer.copy_(value)
        return self.buffers[0][: len(outputs)], self.buffers[1]


def test_reused_buffers_are_safe():
    assert same(figures(Reusing), figures())


def test_a_reused_count_is_safe():
    class Counting(TinyTrainer):
        count = torch.zeros(())

        def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> Tensor:
            return self.count.fill_(len(inputs[0]))

    assert same(figures(Counting), figures())  # batches of 5, 5 and 2


def held_bytes(value: Any) -> int:
    """Bytes of all storages that an object reaches."""
    seen: dict[int, int] = {}
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, dict):
            stack.extend(one.values())
        elif isinstance(one, (list, tuple)):
            stack.extend(one)
        elif type(one).__module__.startswith("basetrainer"):
            stack.extend(getattr(one, "__dict__", {}).values())
    return sum(seen.values())


@pytest.mark.parametrize("recorder", [LossesRecorder, MultiLossesRecorder, AccuracyRecorder])
def test_small_views_of_large_tensors_hold_no_large_tensor(recorder):
    tally = recorder().new_tally()
    for _ in range(10):
        large = torch.randn(BIG)
        outputs = large[:12].view(4, 3)
        losses = {"a": large[0], "b": large.expand(1, BIG)[0, 7]}
        labels = torch.zeros(BIG, dtype=torch.long)[:4]
        tally.add((None, labels), outputs, losses, large[3])
        tally.is_empty = False
    assert held_bytes(tally) < 16384


def test_the_guard_holds_its_losses_itself():
    guard = NonFiniteGuard()
    large = torch.full((BIG,), math.nan)
    guard.watch({"good": torch.tensor(1.0), "bad": large[5]}, 1.0, 3, 4)
    large.zero_()
    assert held_bytes(guard) < 4096
    with pytest.raises(NonFiniteError, match="'bad' became nan at epoch 4, step 4"):
        guard.check()


@pytest.mark.parametrize("shape", [(1, 3), (2000, 50)])
def test_what_is_held_is_bounded_however_many_batches_come(shape):
    tally: Any = AccuracyRecorder().new_tally()
    logits, labels = torch.randn(shape), torch.zeros(shape[0], dtype=torch.long)
    most_bytes, most_batches = 0, 0
    for _ in range(3 * _HELD_BATCHES):
        tally.add((None, labels), logits, None, shape[0])
        tally.is_empty = False
        most_bytes = max(most_bytes, held_bytes(tally._held))
        most_batches = max(most_batches, len(tally._held[0]))
    assert most_bytes <= _HELD_BYTES
    assert most_batches <= _HELD_BATCHES
    assert tally.matrix is not None
    tally.settle()
    assert int(tally.matrix.sum()) == 3 * _HELD_BATCHES * shape[0]


def test_a_mean_holds_a_number_for_each_step_and_no_more():
    mean = Mean()
    for _ in range(1000):
        mean.add(torch.randn(BIG // 100)[0], 4)
    assert held_bytes(mean) < 1000 * 4 + 64 * 1024


def test_the_graph_of_the_outputs_is_let_go():
    tally: Any = AccuracyRecorder().new_tally()
    points, labels = tiny_data().tensors
    tally.add((points, labels), nn.Linear(3, 3)(points), None, 12)
    assert not any(held.take().requires_grad for held in tally._held)


def test_a_guard_without_log_points_holds_no_more_than_so_many_and_still_finds_the_first():
    guard = NonFiniteGuard()
    for step in range(2 * _MOST_LOSSES + 10):
        bad = math.nan if step in (5, 6, 2 * _MOST_LOSSES + 3) else 0.5
        guard.watch({"a": torch.tensor(0.1), "b": torch.tensor(bad)}, 1.0, 0, step)
        if step == 2 * _MOST_LOSSES - 2:
            assert held_bytes(guard) < _MOST_LOSSES * 16
    with pytest.raises(NonFiniteError, match="'b' became nan at epoch 1, step 5"):
        guard.check()
    guard.watch(torch.tensor(0.1), 1.0, 0, 99)
    guard.check()  # what was told is not told again


def test_a_mean_that_nobody_reads_settles_by_itself():
    mean = Mean()
    for _ in range(3 * _MOST_VALUES + 1):
        mean.add(torch.tensor(2.0))
    assert len(mean._weights) == 1
    assert mean.compute() == 2.0
