"""amp: auto is bf16 where the hardware has it, and what was chosen for speed is said once."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from basetrainer.engine import precision
from basetrainer.engine import trainer as trainer_module
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.precision import bf16_unit, effective, speed_line
from tests.tiny import TinyTrainer

QUIET = {"num_epochs": 1, "progress": False}
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("can", "unit"),
    [
        ({"avx512_bf16": True, "amx_bf16": True}, "amx_bf16"),
        ({"avx512_bf16": True, "amx_bf16": False}, "avx512_bf16"),
        ({"architecture": "aarch64", "bf16": True}, "bf16"),
        ({"avx2": True}, ""),
    ],
)
def test_the_cpus_own_list_decides(monkeypatch, can, unit):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    assert bf16_unit(CPU) == unit
    assert effective(EngineConfig(amp="auto"), CPU).amp == ("bf16" if unit else None)


def test_an_accelerator_that_only_emulates_bf16_counts_as_without(monkeypatch):
    asked = []

    class Module:
        @staticmethod
        def is_bf16_supported(including_emulation: bool = True) -> bool:
            asked.append(including_emulation)
            return including_emulation

    monkeypatch.setattr(torch, "get_device_module", lambda device: Module)
    assert bf16_unit(torch.device("cuda")) == ""
    assert asked == [False]
    monkeypatch.setattr(torch, "get_device_module", lambda device: object())
    assert bf16_unit(torch.device("mps")) == ""


@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_what_is_asked_for_by_name_stays(monkeypatch, amp):
    monkeypatch.setattr(precision, "bf16_unit", lambda device: "")
    config = EngineConfig(amp=amp)
    assert effective(config, CPU) is config


def said(caplog: pytest.LogCaptureFixture, **cfg: Any) -> list[str]:
    caplog.clear()
    caplog.set_level(logging.INFO)
    TinyTrainer({**QUIET, **cfg})
    return [one.message for one in caplog.records if one.message.startswith("speed")]


def test_the_effective_choice_is_one_line_and_nothing_without_a_choice(caplog, monkeypatch):
    monkeypatch.setattr(precision, "bf16_unit", lambda device: "avx512_bf16")
    assert said(caplog, amp="auto", channels_last=True) == [
        "speed   : amp auto: bf16 (avx512_bf16); channels_last"
    ]
    assert said(caplog, amp="bf16") == ["speed   : amp bf16 (avx512_bf16)"]
    monkeypatch.setattr(precision, "bf16_unit", lambda device: "")
    assert said(caplog, amp="auto") == [
        "speed   : amp auto: fp32: this CPU does not compute in bf16"
    ]
    assert said(caplog, amp="bf16") == [
        "speed   : amp bf16, though this CPU has no instructions for it: slow"
    ]
    assert said(caplog) == []


def test_a_fused_optimizer_is_named(caplog, monkeypatch):
    class Fused(TinyTrainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            return torch.optim.SGD(self.model.parameters(), lr=0.1, fused=True)

    caplog.set_level(logging.INFO)
    Fused({**QUIET, "channels_last": True})
    assert "speed   : channels_last; fused SGD" in caplog.text


def test_auto_trains_as_what_it_stands_for(monkeypatch):
    monkeypatch.setattr(precision, "bf16_unit", lambda device: "a unit")
    auto, named = (TinyTrainer({**QUIET, "amp": amp}) for amp in ("auto", "bf16"))
    auto.run()
    named.run()
    for one, other in zip(auto.model.parameters(), named.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("can", [True, False])
def test_keep_memory_is_asked_for_only_when_it_is_set_and_told_only_if_it_is_kept(
    caplog, monkeypatch, can
):
    asked = []

    def keep():
        asked.append(1)
        return can

    monkeypatch.setattr(trainer_module, "keep_freed_memory", keep)
    assert said(caplog) == []
    assert not asked
    assert said(caplog, keep_memory=True) == (["speed   : keep_memory"] if can else [])
    assert asked


def test_keep_memory_is_not_told_of_an_accelerator(monkeypatch):
    monkeypatch.setattr(precision, "bf16_unit", lambda device: "")
    config = EngineConfig(keep_memory=True)
    assert speed_line(None, config, torch.device("cuda"), []) == ""


def test_an_optimizer_that_is_not_torchs_is_not_asked_for_its_defaults(caplog):
    class Foreign(TinyTrainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            optimizer = super().build_optimizer(cfg, **kwargs)
            parts = ("param_groups", "step", "zero_grad")
            return SimpleNamespace(**{name: getattr(optimizer, name) for name in parts})

    caplog.set_level(logging.INFO)
    Foreign({**QUIET, "channels_last": True})
    assert "speed   : channels_last" in caplog.text
