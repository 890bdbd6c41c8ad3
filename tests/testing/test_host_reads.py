"""HostReads: each way of reading a tensor's value is seen once, with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from basetrainer.testing.host_reads import HostReads

SCALAR, VECTOR = torch.tensor(1.0), torch.tensor([1.0, -1.0, 2.0])
READS = {
    "item": lambda: SCALAR.item(),
    "float": lambda: float(SCALAR),
    "int": lambda: int(SCALAR),
    "bool": lambda: bool(SCALAR),
    "if": lambda: 1 if SCALAR > 0 else 0,
    "range": lambda: range(torch.tensor(2)),
    "tolist": lambda: VECTOR.tolist(),
    "numpy": lambda: VECTOR.numpy(),
    "asarray": lambda: np.array(VECTOR, copy=True),
    "str": lambda: str(VECTOR),
    "format of many": lambda: f"{VECTOR}",
    "format of one": lambda: f"{SCALAR:.2f}",
    "equal": lambda: torch.equal(VECTOR, VECTOR),
    "allclose": lambda: torch.allclose(VECTOR, VECTOR),
    "nonzero": lambda: VECTOR.nonzero(),
    "mask": lambda: VECTOR[torch.tensor([True, False, True])],
    "mask set": lambda: VECTOR.clone().index_put_((torch.tensor([True] * 3),), SCALAR),
    "masked_select": lambda: VECTOR.masked_select(torch.tensor([True, False, True])),
    "unique": lambda: VECTOR.unique(),
}


@pytest.mark.parametrize("way", READS)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_read_is_seen_once_with_the_line_that_did_it(way):
    with HostReads() as found:
        READS[way]()  # type: ignore[no-untyped-call]
    (read,) = found.reads
    assert read.place.startswith("test_host_reads.py, line ")


def test_a_training_step_reads_nothing_and_its_operations_are_counted():
    model = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with HostReads() as found:
        nn.functional.cross_entropy(model(torch.ones(2, 3)), torch.tensor([0, 1])).backward()
        optimizer.step()
    assert found.reads == []
    assert found.ops["aten::addmm"] == 1
    assert found.num_ops > 5


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "NAdam", "Adagrad", "RMSprop"])
@pytest.mark.parametrize("foreach", [False, True])
def test_the_step_counts_of_optimizers_are_no_reads(kind, foreach):
    model = nn.Linear(3, 3)
    optimizer = getattr(torch.optim, kind)(model.parameters(), foreach=foreach)
    with HostReads() as found:
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    assert found.reads == []


class ReadsInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * gradient.item()


def test_a_read_in_a_backward_pass_is_seen():
    value = torch.tensor(1.0, requires_grad=True)
    with HostReads() as found:
        ReadsInBackward.apply(value).backward()
    assert [read.place.rpartition(" ")[2] for read in found.reads] == ["backward"]


def test_nothing_is_counted_outside_nor_while_pausing():
    with HostReads() as found:
        with found.pausing():
            SCALAR.item()
            VECTOR.tolist()
        assert found.num_ops == 0
    SCALAR.item()
    assert found.reads == []


def test_moving_on_the_cpu_views_and_loops_are_no_reads():
    with HostReads() as found:
        VECTOR.cpu()
        VECTOR.to("cpu", copy=True)
        VECTOR[torch.tensor([0, 2])]
        [one + 1 for one in VECTOR]
        VECTOR.where(VECTOR > 0, 0.0)
    assert found.reads == []


def test_the_named_blind_spots_are_blind(tmp_path: Path):
    shared = VECTOR.numpy()
    with HostReads() as found:
        shared.sum()
        VECTOR.data_ptr()
    assert found.reads == []
