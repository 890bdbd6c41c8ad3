"""Seeding, moving batches, and reading state dicts."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basetrainer.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)


def set_env_random_seed(seed: int = 2020) -> None:
    """Seed Python, numpy and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def set_deterministic() -> None:
    """Make torch use deterministic algorithms only; where there is none, it raises."""
    # cuBLAS reads this when its first handle is made; without it torch refuses.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def batch_size(inputs: Any) -> int:
    """Return the number of samples of a batch.

    It is the length of the first tensor found in it, or of the first list in a tuple (images of
    several sizes); 1 where there is neither.
    """
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.ndim else 1
    if isinstance(inputs, (list, tuple)) and inputs:
        first = inputs[0]
        if isinstance(first, (int, float, str)) or (isinstance(first, Tensor) and not first.ndim):
            return len(inputs)  # a column of numbers
        return len(first) if isinstance(first, (Tensor, list, tuple)) else batch_size(first)
    if isinstance(inputs, Mapping):
        for value in inputs.values():
            if (isinstance(value, Tensor) and value.ndim) or isinstance(value, (list, tuple)):
                return len(value)
    return 1


def move_to_device(inputs: Any, device: torch.device | str, *, channels_last: bool = False) -> Any:
    """Return the batch with its tensors on ``device``; lists, tuples and dicts keep their type.

    Args:
        inputs: Tensors, or lists, tuples, named tuples and dicts of them; the rest stays as it is.
        device: Where to.
        channels_last: Whether 4-d tensors of images get that memory format.
    """
    if isinstance(inputs, Tensor):
        if channels_last and inputs.ndim == 4:
            return inputs.to(device, non_blocking=True, memory_format=torch.channels_last)
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        moved = {
            k: move_to_device(v, device, channels_last=channels_last) for k, v in inputs.items()
        }
        return moved if type(inputs) is dict else type(inputs)(moved)  # type: ignore[call-arg]
    if isinstance(inputs, (list, tuple)):
        items = [move_to_device(item, device, channels_last=channels_last) for item in inputs]
        if hasattr(inputs, "_fields"):
            return type(inputs)(*items)
        return items if type(inputs) is list else type(inputs)(items)
    return inputs


def load_state_dict(
    path: str | os.PathLike[str], weights_only: bool = True, map_location: Any = "cpu"
) -> dict[str, Tensor]:
    """Read the weights in a file, with the keys of a model that is not wrapped.

    Args:
        path: A state dict, or a checkpoint that holds one under ``model`` or ``state_dict``.
        weights_only: Whether to refuse everything but tensors and plain values; False runs code
            that the file may hold.
        map_location: Where the tensors go.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it cannot be read or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"There is no file of weights {path}.")
    try:
        found = torch.load(path, map_location=map_location, weights_only=weights_only)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as weights: {error}. It is damaged, or no file of torch.save."
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not a state dict.")
    return strip_prefix(found)


def strip_prefix(state: Mapping[str, Any], prefix: str = "module.") -> dict[str, Any]:
    """Return the state dict without the prefix that wrappers put before each key."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def get_module_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state dict with the keys of a model that is not wrapped."""
    return strip_prefix(state_dict)


def load_pretrained_model(
    model: nn.Module, pretrained_dict: str | os.PathLike[str] | Mapping[str, Any]
) -> nn.Module:
    """Load what fits, by name and shape, and say what did not.

    Args:
        model: Changed in place; may be wrapped.
        pretrained_dict: A file or a state dict.

    Returns:
        The same model.
    """
    given = (
        strip_prefix(pretrained_dict)
        if isinstance(pretrained_dict, Mapping)
        else load_state_dict(pretrained_dict)
    )
    own = model.state_dict()
    names = {name.removeprefix("module."): name for name in own}
    fitting = {
        names[key]: value
        for key, value in given.items()
        if key in names and own[names[key]].shape == value.shape
    }
    left_out = sorted(set(given) - {name.removeprefix("module.") for name in fitting})
    model.load_state_dict(fitting, strict=False)
    logger.info("weights: %d of %d tensors of the model loaded", len(fitting), len(own))
    if left_out:
        logger.warning(
            "weights: %d tensors do not fit: %s", len(left_out), ", ".join(left_out[:10])
        )
    return model


def rename_module(state_dict: Mapping[str, Any], name_map: Mapping[str, str]) -> dict[str, Any]:
    """Return the state dict with the first matching prefix of each key replaced.

    Args:
        state_dict: Keys and tensors.
        name_map: Old prefix to new one.
    """
    renamed = {}
    for key, value in state_dict.items():
        old = next((one for one in name_map if key.startswith(one)), None)
        renamed[key if old is None else name_map[old] + key[len(old) :]] = value
    return renamed


def freeze_net_layers(net: nn.Module) -> None:
    """Let no parameter of ``net`` be trained."""
    for parameter in net.parameters():
        parameter.requires_grad = False


def print_model(model: nn.Module) -> None:
    """Log the name and shape of each parameter and buffer."""
    for name, value in model.state_dict().items():
        logger.info("%s %s", name, tuple(value.shape))
