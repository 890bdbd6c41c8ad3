"""Seeding, moving batches, and reading state dicts."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from basetrainer.models.summary import ModelSummary

logger = logging.getLogger(__name__)


def set_env_random_seed(seed: int = 2020) -> None:
    """Seed Python, numpy and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def deterministic_algorithms(is_asked: bool) -> Iterator[None]:
    """Let torch use deterministic algorithms only; where there is none, it raises."""
    if not is_asked:
        yield
        return
    # cuBLAS reads this when its first handle is made; without it torch refuses.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode, and each of its modules back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def batch_size(inputs: Any) -> int:
    """Return the number of samples of a batch.

    It is the length of the first tensor found in it, or of the first list in a tuple (images of
    several sizes); 1 where there is neither.
    """
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.ndim else 1
    if isinstance(inputs, (list, tuple)) and inputs:
        first = inputs[0]
        if isinstance(first, Tensor) and first.ndim:
            return first.shape[0]  # a third of the time of len()
        if isinstance(first, (int, float, str, Tensor)):
            return len(inputs)  # a column of numbers
        return len(first) if isinstance(first, (list, tuple)) else batch_size(first)
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
    return map_tensors(inputs, partial(tensor_to, device=device, channels_last=channels_last))


def tensor_to(tensor: Tensor, device: torch.device | str, *, channels_last: bool = False) -> Tensor:
    """Return the tensor on ``device``, without waiting for it; see :func:`move_to_device`."""
    if channels_last and tensor.ndim == 4:
        return tensor.to(device, non_blocking=True, memory_format=torch.channels_last)
    return tensor.to(device, non_blocking=True)


def map_tensors(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the batch with each tensor changed; lists, tuples and dicts keep their type.

    Args:
        batch: Tensors, or lists, tuples, named tuples and dicts of them; the rest stays as it is.
        change: What to do with a tensor.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        mapped = {key: map_tensors(value, change) for key, value in batch.items()}
        return mapped if type(batch) is dict else type(batch)(mapped)  # type: ignore[call-arg]
    if isinstance(batch, (list, tuple)):
        items = [map_tensors(item, change) for item in batch]
        if hasattr(batch, "_fields"):
            return type(batch)(*items)
        return items if type(batch) is list else type(batch)(items)
    return batch


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
    from basetrainer.models.finetune import read_state  # loaded by those who need it

    return read_state(path, weights_only=weights_only, map_location=map_location)


def unwrap_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state dict in ``{"model": ...}`` or alike, without ``module.`` before keys."""
    from basetrainer.models.finetune import plain_state

    return plain_state(state)


def get_module_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state dict with the keys of a model that is not wrapped."""
    return {key.removeprefix("module."): value for key, value in state_dict.items()}


def load_pretrained_model(
    model: nn.Module, pretrained_dict: str | os.PathLike[str] | Mapping[str, Any]
) -> nn.Module:
    """Load what fits, by :func:`~basetrainer.models.finetune.finetune`, and return the model.

    Args:
        model: Changed in place; may be wrapped.
        pretrained_dict: A file or a state dict.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If the file cannot be read, or nothing in it fits.
    """
    from basetrainer.models.finetune import finetune

    finetune(model, pretrained_dict)
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


def nni_summary_model(
    model: nn.Module,
    batch_size: int = 1,
    input_size: Sequence[int] = (112, 112),
    plot: bool = False,
    device: torch.device | str = "cpu",
) -> ModelSummary:
    """Log the layers, parameters and multiply-adds of a network and return them.

    It is :func:`~basetrainer.models.summary.model_summary`; NNI is not needed.

    Args:
        model: The network; it is moved to ``device``.
        batch_size: Without effect: the counts are those of one sample.
        input_size: ``[W, H]`` of the images.
        plot: Without effect: nothing is drawn.
        device: Where the network runs.
    """
    from basetrainer.models.summary import model_summary

    summary = model_summary(model.to(device), input_size)
    logger.info("%s", summary)
    return summary


summary_model = torchinfo_summary = nni_summary_model
"""The other names under which programs know it."""
