"""The same step for every split of a global batch, to 1e-10 in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

from tests.tiny import TinyTrainer, tiny_data

DOUBLE: dict[str, Any] = {"dtype": torch.float64, "shuffle": False, "tests": False}


class SplitTrainer(TinyTrainer):
    """Takes batches of any sizes from a list."""

    def __init__(self, sizes: list[int], accumulate: int, **parts: Any) -> None:
        self.sizes = sizes
        cfg = {"num_epochs": 1, "progress": False, "accumulate_steps": accumulate}
        super().__init__(cfg, num_samples=sum(sizes), **DOUBLE, **parts)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = self.parts.get("data") or tiny_data(sum(self.sizes), torch.float64)
        tensors = zip(*(tensor.split(self.sizes) for tensor in data.tensors), strict=True)
        return list(tensors)


class Masked(SplitTrainer):
    """Averages over the samples that are not masked, as a loss of its own."""

    counts_on_host = True

    def run_step(self, inputs: Any) -> tuple[Tensor, Tensor]:
        points, labels = inputs
        outputs = self.model(points)
        return outputs, functional.cross_entropy(outputs, labels, ignore_index=-1)

    def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> float | Tensor:
        count = (inputs[1] != -1).sum()
        return float(count) if self.counts_on_host else count


class MaskedOnDevice(Masked):
    counts_on_host = False


def weights_after(trainer: TinyTrainer) -> Tensor:
    trainer.run()
    return torch.cat([value.detach().flatten() for value in trainer.model.parameters()])


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_micro_batches_equal_the_big_batch(accumulate):
    whole = SplitTrainer([8, 8], 1)
    split = SplitTrainer([8 // accumulate] * (2 * accumulate), accumulate)
    assert torch.allclose(weights_after(whole), weights_after(split), rtol=0, atol=1e-10)
    assert whole.position.update == split.position.update == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_ragged_micro_batches_equal_the_big_batch(sizes):
    whole = weights_after(SplitTrainer([sum(sizes)], 1))
    assert torch.allclose(whole, weights_after(SplitTrainer(sizes, 6)), rtol=0, atol=1e-10)


class MaskedByHand(Masked):
    """The mean that users write; its gradient over nothing is 0/0."""

    def run_step(self, inputs: Any) -> tuple[Tensor, Tensor]:
        points, labels = inputs
        outputs = self.model(points)
        losses = functional.cross_entropy(outputs, labels.clamp(min=0), reduction="none")
        mask = (labels != -1).to(losses)
        return outputs, (losses * mask).sum() / mask.sum()


class MaskedByHandOnDevice(MaskedByHand):
    counts_on_host = False


@pytest.mark.parametrize("kind", [MaskedByHand, MaskedByHandOnDevice])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_that_is_masked_whole_changes_nothing(kind, accumulate):
    points, labels = tiny_data(8, torch.float64).tensors
    labels = torch.full_like(labels, -1)
    trainer = kind([4, 4], accumulate, data=TensorDataset(points, labels))
    before = torch.cat([value.detach().flatten() for value in trainer.model.parameters()])
    assert torch.equal(weights_after(trainer), before)


@pytest.mark.parametrize("kind", [Masked, MaskedOnDevice, MaskedByHand, MaskedByHandOnDevice])
@pytest.mark.parametrize("sizes", [[4, 4], [1, 3, 4], [2, 2, 2, 2]])
def test_masked_losses_equal_the_big_batch_even_where_all_of_a_part_is_masked(kind, sizes):
    points, labels = tiny_data(8, torch.float64).tensors
    labels = labels.clone()
    labels[:4] = -1
    labels[6] = -1
    data = TensorDataset(points, labels)
    whole = weights_after(kind([8], 1, data=data))
    split = weights_after(kind(sizes, 4, data=data))
    assert torch.isfinite(split).all()
    assert torch.allclose(whole, split, rtol=0, atol=1e-10)


def test_the_tail_of_an_epoch_is_flushed_as_a_smaller_window():
    trainer = SplitTrainer([2] * 5, 2)
    trainer.run()
    assert trainer.position.update == 3


def test_losses_of_a_dict_and_of_a_list_are_summed():
    class Dict(SplitTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, {"a": 0.25 * loss, "b": 0.75 * loss}

    class List(SplitTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, (0.5 * loss, 0.5 * loss)

    plain = weights_after(SplitTrainer([4, 4], 1))
    for kind in (Dict, List):
        assert torch.allclose(plain, weights_after(kind([4, 4], 1)), rtol=0, atol=1e-12)


def test_one_process_without_accumulation_is_the_hand_written_loop_to_the_last_bit():
    trainer = SplitTrainer([3, 4, 2], 1)
    model = copy.deepcopy(trainer.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for points, labels in trainer.train_loader:
        optimizer.zero_grad()
        functional.cross_entropy(model(points), labels).backward()
        optimizer.step()
    expected = torch.cat([value.detach().flatten() for value in model.parameters()])
    assert torch.equal(weights_after(trainer), expected)
