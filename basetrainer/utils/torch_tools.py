"""Seeding, moving batches, and reading state dicts."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from basetrainer.errors import ConfigError
from basetrainer.utils.batch_size import batch_size
from basetrainer.utils.nested import map_tensors, mover_to, tensor_to

if TYPE_CHECKING:
    from basetrainer.models.summary import ModelSummary

__all__ = [
    "batch_size",
    "deterministic_algorithms",
    "evaluation_mode",
    "freeze_net_layers",
    "get_module_state_dict",
    "load_pretrained_model",
    "load_state_dict",
    "map_tensors",
    "move_to_device",
    "nni_summary_model",
    "print_model",
    "rename_module",
    "set_env_random_seed",
    "summary_model",
    "tensor_to",
    "torchinfo_summary",
    "unwrap_state",
]

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


def move_to_device(inputs: Any, device: torch.device | str, *, channels_last: bool = False) -> Any:
    """Return the batch with its tensors on ``device``; every container keeps its type.

    Objects with a ``to()`` of their own (``PackedSequence``, graph batches) are asked to move;
    lists, tuples, mappings, dataclasses and attrs classes are descended into.

    Args:
        inputs: A batch of any kind; what holds no tensors stays as it is.
        device: Where to.
        channels_last: Whether 4-d tensors of images get that memory format.
    """
    change = partial(tensor_to, device=device, channels_last=channels_last)
    return map_tensors(inputs, change, mover_to(device))


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
    """Return the state dict with names replaced, wherever in a key they stand.

    Args:
        state_dict: Keys and tensors.
        name_map: Old name to new one, replaced one after the other in this order.

    Raises:
        ConfigError: If two keys become the same.
    """
    renamed: dict[str, Any] = {}
    for key, value in state_dict.items():
        new = key
        for old, name in name_map.items():
            new = new.replace(old, name) if old else new
        if new in renamed:
            raise ConfigError(
                f"rename_module: {dict(name_map)} gives two entries the name {new!r}, one of them "
                f"{key!r}. Write more of the old name."
            )
        renamed[new] = value
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
