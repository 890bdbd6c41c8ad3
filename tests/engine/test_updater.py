"""Updater: what an update of several ranks costs the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from basetrainer.distributed.context import DistContext
from basetrainer.distributed.shared_flag import SharedFlag
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.updater import Updater
from basetrainer.testing.host_reads import HostReads

COPIED_FROM_THE_HOST = "aten::lift_fresh"  # what torch.tensor() leaves behind


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_the_count_that_divides_the_gradients_of_all_ranks_is_made_on_the_device():
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    updater = Updater(optimizer, EngineConfig(), DistContext(), model, nominal=4.0)
    points = torch.ones(6, 3)
    updater.backward(model(points).mean(), count=6.0)
    with HostReads() as found:
        updater.step()
    assert model.module.weight.grad.tolist() == [[1.0, 1.0, 1.0]]
    assert COPIED_FROM_THE_HOST not in found.ops
    assert found.reads == []


@pytest.mark.usefixtures("group")
def test_a_flag_is_made_on_the_device():
    flag = SharedFlag(DistContext(world_size=2))  # it reduces over the ranks that there are
    with HostReads() as found:
        assert [flag.poll(level) for level in (1, 3, 2)] == [0, 1, 3]
    assert flag.settle(0) == 2
    assert COPIED_FROM_THE_HOST not in found.ops
