"""What is said of a run that failed in its first steps: error, line, and the likely cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basetrainer._names import did_you_mean
from basetrainer.checkpoint.tree import tensors_of
from basetrainer.config.settings import as_mapping
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.engine import Engine
from basetrainer.engine.failures.frames import entries, is_users, users_line
from basetrainer.errors import BaseTrainerError, first_line
from basetrainer.utils.batches import labels_of, logits_of
from basetrainer.utils.torch_tools import evaluation_mode

_TORCH = Path(torch.__file__).parent
_OF_TORCH = (RuntimeError, IndexError, ValueError, TypeError)
_FEW_PARTS = 4
"""Up to how many parts of a batch each has its own place."""

_UNEQUAL = "stack expects each tensor to be equal size"


def diagnosed(
    error: BaseException, cfg: Any, engine: Engine | None = None, batch: Any = None
) -> str:
    """Return an error in one line: what, where in the user's code, and why if that is known.

    Args:
        error: What was raised.
        cfg: The settings.
        engine: Whose run failed; None if it could not be built.
        batch: The running batch; None if there was none.
    """
    is_ours = isinstance(error, BaseTrainerError)
    text = str(error) if is_ours else f"{type(error).__name__}: {first_line(error)}"
    if line := users_line(error):
        text = f"{text.rstrip('.')} ({line})"
    reasons = list(_missing_key(error, cfg, batch))
    if engine is not None and batch is not None and not reasons and not is_ours:
        reasons = list(_wrong_shapes(engine, batch))
    return " ".join(one if one.endswith((".", "?")) else f"{one}." for one in (text, *reasons))


def causes_of(error: BaseException, engine: Engine) -> Iterator[str]:
    """Yield, as sentences, what may be the cause of an error that torch raised in a step."""
    found = list(entries(error))
    is_torchs = bool(found) and _TORCH in Path(found[-1].tb_frame.f_code.co_filename).parents
    if not isinstance(error, _OF_TORCH) or not (is_torchs or _UNEQUAL in str(error)):
        return
    if _UNEQUAL in str(error):
        yield (
            "The samples of one batch have different shapes. Bring them to one size in the "
            "dataset's transform, or give build_dataloader a collate_fn, such as Collation."
        )
    elif engine.inputs is None:
        return
    elif engine.device.type == "cpu" and engine.context.world_size == 1:
        # Elsewhere the error may have broken the device, or other processes wait.
        yield from (f"{one}." for one in _wrong_shapes(engine, engine.inputs))


def described(batch: Any) -> str:
    """Return the shapes of a batch: ``[0] (4, 3) float32, [1] (4,) int64``.

    Tensors of a list within it are said once, with their number; sizes that differ are ranges:
    ``[0] 8 x (3, 64, 64) float32, [1]['boxes'] 8 x (0..2, 4) float32``.
    """
    few = isinstance(batch, (list, tuple)) and len(batch) <= _FEW_PARTS
    index = re.compile(r"(?<!^)\[\d+\]" if few else r"\[\d+\]")
    alike: dict[tuple[str, str, int], list[torch.Size]] = {}
    for place, tensor in tensors_of(_as_dict(batch)):
        kind = index.sub("", place), str(tensor.dtype).removeprefix("torch."), tensor.ndim
        alike.setdefault(kind, []).append(tensor.shape)
    parts = []
    for (place, dtype, _), shapes in alike.items():
        sizes = [(min(one), max(one)) for one in zip(*shapes, strict=True)]
        dims = ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in sizes)
        count = f"{len(shapes)} x " if len(shapes) > 1 else ""
        parts.append(f"{place} {count}({dims}{',' * (len(sizes) == 1)}) {dtype}".strip())
    return ", ".join(parts) or f"a {type(batch).__name__} without tensors"


def nonfinite(batch: Any) -> str:
    """Say which tensors of a batch hold NaN or infinite numbers; "" if none does."""
    found = []
    for place, tensor in tensors_of(_as_dict(batch)):
        if tensor.is_floating_point():
            count = int((~tensor.isfinite()).sum())
            if count:
                found.append(f"{place} has {count} of {tensor.numel()}".strip())
    return f"NaN or infinite numbers in the batch: {', '.join(found)}" if found else ""


def _as_dict(batch: Any) -> Any:
    """Return a mapping as a dict, which :func:`tensors_of` looks into."""
    return dict(batch) if isinstance(batch, Mapping) else batch


def _missing_key(error: BaseException, cfg: Any, batch: Any) -> Iterator[str]:
    """Say what a key that is not there may be meant for."""
    if isinstance(error, AttributeError) and error.obj is cfg:
        hint = did_you_mean(str(error.name), as_mapping(cfg))
        yield f"The settings have no key {error.name!r}.{hint}"
    elif isinstance(error, KeyError) and error.args:
        key, functions = str(error.args[0]), _functions(error)
        if isinstance(batch, Mapping) and key not in batch:
            yield f"The batch has the keys {', '.join(map(str, batch))}.{did_you_mean(key, batch)}"
        elif cfg is not None and any(name.startswith("build_") for name in functions):
            known = as_mapping(cfg)
            if key not in known:
                yield f"The settings have no key {key!r}.{did_you_mean(key, known)}"


def _functions(error: BaseException) -> list[str]:
    return [one.tb_frame.f_code.co_name for one in entries(error) if is_users(one.tb_frame)]


def _wrong_shapes(engine: Engine, batch: Any) -> Iterator[str]:
    """Compare a batch of inputs and labels with what the network makes of it."""
    yield f"The batch: {described(batch)}"
    if unusual := nonfinite(batch):
        yield unusual
    try:
        labels = labels_of(batch)
        moved = engine.to_device(batch)
        images = moved["image"] if isinstance(moved, Mapping) else moved[0]
        with torch.no_grad(), evaluation_mode(engine.model):
            outputs = logits_of(unwrap(engine.model)(images))
    except Exception:  # the network itself may be what failed, and the error says so
        return
    if not isinstance(outputs, Tensor) or not isinstance(labels, Tensor):
        return
    yield f"The network's output: {described(outputs)}"
    is_index = not labels.is_floating_point() and outputs.ndim == labels.ndim + 1
    if is_index and labels.numel():
        ignored = getattr(engine.criterion, "ignore_index", -100)
        counted = labels[labels != ignored]
        least, most = (int(one) for one in counted.aminmax()) if counted.numel() else (0, 0)
        if least < 0 or most >= outputs.shape[1]:
            yield (
                f"The labels in it go from {least} to {most}, but the network has "
                f"{outputs.shape[1]} classes, 0 to {outputs.shape[1] - 1}. Mend the labels, or the "
                f"number of classes"
            )
