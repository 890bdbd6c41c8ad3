"""The old doors of evaluation."""

from __future__ import annotations

import importlib

import pytest
import torch

from basetrainer.errors import ConfigError
from basetrainer.metric.eval_tools.metrics import AverageMeter, MultiAverageMeter, accuracy


def test_a_meter_weighs_means_by_their_counts():
    meter = AverageMeter()
    assert meter.avg == 0
    meter.update(1.0, 3)
    meter.update(torch.tensor(5.0))
    assert (meter.val, meter.sum, meter.count, meter.avg) == (5.0, 8.0, 4, 2.0)
    meter.reset()
    assert (meter.count, meter.avg) == (0, 0.0)


def test_several_meters_are_kept_by_name():
    meters = MultiAverageMeter()
    meters.update({"box": 1.0, "class": 4.0}, 2)
    meters.update({"box": 4.0})
    assert meters.avg == {"box": 2.0, "class": 4.0}


def test_accuracy_is_in_percent_for_each_k_also_of_a_view_that_is_not_contiguous():
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7]])
    labels = torch.tensor([1, 1, 0, 2])
    assert [float(one) for one in accuracy(scores, labels, (1, 2, 3))] == [50.0, 75.0, 100.0]
    assert [float(one) for one in accuracy(scores.t().contiguous().t(), labels)] == [50.0]
    with pytest.raises(ConfigError, match="between 1 and 3 classes"):
        accuracy(scores, labels, (1, 5))


@pytest.mark.parametrize(("name", "instead"), [("roc", "roc_curve"), ("pr", "precision_recall")])
def test_curves_name_the_functions_of_scikit_learn(name, instead):
    module = importlib.import_module(f"basetrainer.metric.eval_tools.{name}")
    with pytest.raises(ImportError, match=f"plot_it.*{instead}.*sklearn.metrics"):
        _ = module.plot_it
    assert not hasattr(module, "__wrapped__")
