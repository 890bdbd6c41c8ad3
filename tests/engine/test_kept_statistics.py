"""A batch with NaN that is left out leaves no NaN in running statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.engine.kept_statistics import KeptStatistics
from tests.tiny import TinyTrainer, tiny_data


class Trainer(TinyTrainer):
    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        return self.build_model_parallel(net)


def _with_nan(sample: int) -> TensorDataset:
    inputs, labels = tiny_data().tensors
    inputs = inputs.clone()
    inputs[sample] = float("nan")
    return TensorDataset(inputs, labels)


@pytest.mark.parametrize("sample", [0, 5, 11])
@pytest.mark.parametrize("more", [{}, {"accumulate_steps": 2}, {"ema_decay": 0.5}])
def test_a_run_with_a_spoilt_batch_is_tested_with_finite_statistics(sample, more):
    cfg = {"num_epochs": 2, "progress": False, "on_nonfinite": "skip", **more}
    trainer = Trainer(cfg, [LossesRecorder()], data=_with_nan(sample), shuffle=False)
    trainer.run()
    assert all(one.isfinite().all() for one in trainer.model.state_dict().values())


def test_only_what_is_not_finite_is_set_back():
    norm: Any = nn.BatchNorm1d(2)
    net = nn.Sequential(norm, nn.BatchNorm1d(2, track_running_stats=False))
    net(torch.randn(4, 2))
    kept = KeptStatistics(net)
    mean = norm.running_mean.clone()
    norm.running_mean[1] = float("nan")
    norm.running_var.fill_(7.0)
    kept.restore()
    assert torch.equal(norm.running_mean, mean)
    assert norm.running_var.tolist() == [7.0, 7.0]


def test_statistics_of_lazy_layers_are_kept_once_they_are_there():
    norm: Any = nn.LazyBatchNorm1d()
    kept = KeptStatistics(norm)
    norm(torch.randn(4, 2))
    kept.keep()
    norm(torch.full((4, 2), float("nan")))
    kept.restore()
    assert norm.running_mean.isfinite().all()
