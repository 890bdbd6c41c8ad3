"""What amp: auto means on this hardware, and the line that says how fast a run is set to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from basetrainer._torch_private import has_avx512_bf16
from basetrainer.engine.config import EngineConfig

_CPU_NAMES = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")  # x86, then Arm


def bf16_unit(device: torch.device) -> str:
    """Return what computes in bfloat16 on a device, in words; "" if nothing does.

    A device that only emulates it, slower than float32, counts as none.
    """
    if device.type == "cpu":
        can: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        if not can and has_avx512_bf16():  # torch 2.10 has no list
            can = {"avx512_bf16": True}
        return next((name for name in _CPU_NAMES if can.get(name)), "")
    asked = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    if asked is None:
        return ""
    options = {"including_emulation": False} if device.type == "cuda" else {}
    return device.type if asked(**options) else ""


def effective(config: EngineConfig, device: torch.device) -> EngineConfig:
    """Return the settings with ``amp: auto`` decided: bf16 where the device computes in it."""
    if config.amp != "auto":
        return config
    return dataclasses.replace(config, amp="bf16" if bf16_unit(device) else None)


def speed_line(
    asked: str | None, config: EngineConfig, device: torch.device, optimizers: Sequence[Any]
) -> str:
    """Return in words what was chosen for speed; "" if everything is as it is by default.

    Args:
        asked: ``amp`` as it stands in the settings.
        config: The effective settings.
        device: Where the step runs.
        optimizers: Of the run.
    """
    unit = bf16_unit(device)
    is_auto = str(asked).strip().lower() == "auto"
    if config.amp == "bf16":
        name = device.type.upper()
        how = f" ({unit})" if unit else f", though this {name} has no instructions for it: slow"
        precision = f"bf16{how}"
    elif is_auto:
        precision = f"fp32: this {device.type.upper()} does not compute in bf16"
    else:
        precision = config.amp or ""
    chosen = [f"amp {'auto: ' if is_auto else ''}{precision}"] if precision else []
    switches = {
        "channels_last": config.channels_last,
        "keep_memory": config.keep_memory and device.type == "cpu",
        "compile": config.compile,
    }
    chosen += [name for name, is_on in switches.items() if is_on]
    if not chosen:
        return ""
    # What only looks like an optimizer of torch's need not have defaults.
    fused = [type(one).__name__ for one in optimizers if getattr(one, "defaults", {}).get("fused")]
    return "; ".join([*chosen, *(f"fused {name}" for name in fused)])
