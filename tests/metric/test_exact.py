"""The figures of several processes are those of one, whatever the size of the data.

The whole matrix is ``python -m benchmarks.metrics_exact``; this is a part of it.
"""

from __future__ import annotations

import itertools

import pytest
from torch.nn import functional

from basetrainer.engine.launch import launch
from scenarios.metrics_exact import CLASSES, Judge, differences, figures, points

CASES = list(itertools.product((1, 2, 3, 5, 8, 17), (1, 4), (False, True)))


@pytest.mark.distributed
@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_count_is_identical_and_every_loss_equal(world):
    alone = figures(CASES)
    compared, unlike, largest = differences(
        alone, launch(figures, world, args=(CASES,), start_method="fork")
    )
    assert compared > 1000
    assert not unlike
    assert largest <= 1e-12


def test_the_figures_of_one_process_are_those_of_plain_torch():
    found = figures([(17, 4, True)])[17, 4, True]
    model = Judge((17, 4, True), is_trained=True).model
    data, labels = points(17).tensors
    outputs = model(data).detach()
    loss = functional.cross_entropy(outputs, labels)
    assert found["/test/all/loss/ce"] == pytest.approx(float(loss), abs=1e-12)
    assert found["/train/loss/ce"] == pytest.approx(float(loss), abs=1e-12)
    assert found["/test/all/loss/norm"] == pytest.approx(float(outputs.square().mean()), abs=1e-12)
    assert found["/test/all/Acc"] == 100.0 * int((outputs.argmax(1) == labels).sum()) / 17
    top = (outputs.topk(2).indices == labels[:, None]).any(1)
    assert found["/test/all/Acc_top2"] == found["/train/Acc_top2"] == 100.0 * int(top.sum()) / 17
    few = [found[f"/matrix/few/{place}"] for place in range(CLASSES**2)]
    assert few[:: CLASSES + 1] == [
        sum(int(outputs[i].argmax()) == int(labels[i]) == name for i in range(5))
        for name in range(CLASSES)
    ]
