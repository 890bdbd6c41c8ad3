"""wrap and unwrap: one seam for every way of spreading a model."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import basetrainer
from basetrainer.distributed import strategy as strategy_module
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import (
    build_model_parallel,
    check_precision,
    choosing,
    no_sync,
    unwrap,
    wrap,
)
from basetrainer.engine import comm
from basetrainer.errors import ConfigError

PACKAGE = Path(basetrainer.__file__).parent


def test_on_one_device_the_model_itself_has_the_alias_module():
    model = nn.Linear(2, 2)
    wrapped = wrap(model, DistContext())
    assert wrapped is model
    assert wrapped.module is model
    assert list(wrapped.state_dict()) == ["weight", "bias"]
    assert [name for name, _ in wrapped.named_modules()] == [""]


def test_the_alias_survives_deepcopy_and_pickle_and_points_to_the_copy():
    model: Any = wrap(nn.Linear(2, 2), DistContext())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.module is other
        assert torch.equal(other.weight, model.weight)


def test_several_ids_on_a_machine_without_gpus_are_one_process_and_said(caplog):
    with caplog.at_level("INFO", logger="basetrainer"):
        model = build_model_parallel(nn.Linear(2, 2), [0, 1], distributed=False)
    assert unwrap(model) is model
    assert "one CPU process" in caplog.text


def test_bf16_is_refused_where_dataparallel_would_compute_in_fp16():
    with pytest.raises(ConfigError, match="threads of DataParallel"):
        check_precision(nn.DataParallel(nn.Linear(1, 1)), "bf16")
    check_precision(nn.DataParallel(nn.Linear(1, 1)), "fp16")
    check_precision(nn.Linear(1, 1), "bf16")


def test_the_strategy_of_the_settings_is_that_of_build_model_parallel(monkeypatch):
    asked: list[str] = []

    def note(model: nn.Module, context: DistContext, strategy: str, **kwargs: Any) -> nn.Module:
        asked.append(strategy)
        return model

    monkeypatch.setattr(strategy_module, "wrap", note)
    build_model_parallel(nn.Linear(1, 1))
    build_model_parallel(nn.Linear(1, 1), distributed=False)
    with choosing("fsdp2"):
        build_model_parallel(nn.Linear(1, 1))
        build_model_parallel(nn.Linear(1, 1), strategy="ddp")
    assert asked == ["auto", "dp", "fsdp2", "ddp"]


def test_no_sync_of_a_plain_model_does_nothing():
    with no_sync(nn.Linear(1, 1)):
        pass


def test_only_the_strategy_names_the_wrappers():
    pattern = re.compile(r"DataParallel|fully_shard|FSDPModule|DTensor|(?<!self)\.module\b")
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("strategy.py", "sharding.py", "_wrappers.py"):
            code = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.DOTALL)
            assert not pattern.search(code), path


def test_without_a_group_the_functions_are_those_of_one_process():
    assert (comm.get_world_size(), comm.get_rank(), comm.get_local_rank()) == (1, 0, 0)
    assert comm.get_local_size() == 1
    assert comm.is_main_process()
    assert comm.all_gather(3) == [3]
    assert comm.gather(3) == [3]
    assert comm.get_device([0, 1]) == torch.device("cpu")
    values = {"a": torch.tensor(1.0)}
    assert comm.reduce_dict(values) is values
    comm.synchronize()


def test_weights_are_laid_out_before_they_are_spread():
    def is_laid_out() -> bool:
        (weight,) = build_model_parallel(nn.Conv2d(3, 4, 3, bias=False)).parameters()
        return weight.is_contiguous(memory_format=torch.channels_last)

    with choosing("auto", channels_last=True):
        assert is_laid_out()
    assert not is_laid_out()
