"""finetune: load from a file of weights what fits a model, and say what does not."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from basetrainer._tensor_file import read_tensor_file
from basetrainer._torch_private import metadata_of, set_metadata
from basetrainer._wrappers import unwrap
from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.models.names import shortened
from basetrainer.models.rebuild import apply_structure
from basetrainer.models.structure import put_structure, structure_in

logger = logging.getLogger(__name__)

StateOrPath: TypeAlias = Mapping[str, Any] | str | os.PathLike[str]

_WRAPPERS = ("module.", "_orig_mod.")
_CONTENTS = ("model", "state_dict", "model_state_dict")


@dataclass(frozen=True)
class FinetuneReport:
    """What :func:`finetune` loaded, by the names of parameters and buffers."""

    matched: tuple[str, ...]
    """Loaded into the model."""

    missing: tuple[str, ...]
    """Only in the model: they stay as they were."""

    unexpected: tuple[str, ...]
    """Only in the file."""

    wrong_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """In both, with their shapes in the file and in the model: they stay as they were."""

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.wrong_shape)
        parts = [f"{len(self.matched)} of {total} tensors loaded"]
        if self.missing:
            parts.append(f"not in the file: {shortened(self.missing)}")
        if self.wrong_shape:
            shapes = [f"{name} {file} for {own}" for name, (file, own) in self.wrong_shape.items()]
            parts.append(f"of another shape: {shortened(shapes)}")
        if self.unexpected:
            parts.append(f"not in the model: {shortened(self.unexpected)}")
        return "; ".join(parts)


def finetune(model: nn.Module, state_or_path: StateOrPath) -> FinetuneReport:
    """Load what fits into a model; the rest of it, often the head, keeps its values.

    From weights of a pruned network the model first gets its structure: parameters are new objects,
    so make the optimizer later.

    Args:
        model: The model, wrapped or not.
        state_or_path: A state dict or the path of a file with one, on its own or under ``model`` or
            ``state_dict``; a leading ``module.`` in its names does not matter. Files are read with
            ``weights_only=True``.

    Returns:
        What was loaded and what was not; it is also one line in the log.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If the file cannot be read or nothing in it fits, or its network was pruned
            and the model is not the full one.
    """
    given = isinstance(state_or_path, Mapping)
    if not given and not isinstance(state_or_path, (str, os.PathLike)):
        raise ConfigError(
            f"finetune got a {type(state_or_path).__name__}. Give the path of a file of weights, "
            f"or a state dict: model.state_dict()."
        )
    source = "the given state" if given else os.fspath(state_or_path)  # type: ignore[arg-type]
    state = plain_state(state_or_path) if given else read_state(source)  # type: ignore[arg-type]
    for name in [name for name, value in state.items() if not isinstance(value, Tensor)]:
        del state[name]  # of get_extra_state, which is of the run that wrote it
    model = apply_structure(unwrap(model), structure_in(state))
    own = model.state_dict()
    state = named_like(own, state)
    wrong_shape = {
        name: (tuple(value.shape), tuple(own[name].shape))
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    }
    fitting = OrderedDict(
        (name, value) for name, value in state.items() if name in own and name not in wrong_shape
    )
    if not fitting:
        raise CheckpointError(
            f"Nothing in {source} fits {type(model).__name__}. It has {shortened(list(state))}; "
            f"the model wants {shortened(list(own))}. Is it the file of another network?"
        )
    if (metadata := metadata_of(state)) is not None:
        set_metadata(fitting, metadata)  # layers' versions of the format
    model.load_state_dict(fitting, strict=False)
    report = FinetuneReport(
        matched=tuple(fitting),
        missing=tuple(name for name in own if name not in state),
        unexpected=tuple(name for name in state if name not in own),
        wrong_shape=wrong_shape,
    )
    logger.info("finetune %s: %s", source, report)
    return report


def read_state(
    path: str | os.PathLike[str], *, weights_only: bool = True, map_location: Any = "cpu"
) -> dict[str, Tensor]:
    """Return the state dict in a file, with plain names.

    Args:
        path: A state dict, or a checkpoint that holds one under ``model`` or ``state_dict``.
        weights_only: Whether to refuse everything but tensors and plain values; False runs code
            that the file may hold.
        map_location: Where the tensors go.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it cannot be read, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(
            f"There is no file of weights {str(path)!r} (current folder: {Path.cwd()}). Correct "
            f"the path, or leave it out to start from random weights."
        )
    try:
        content = read_tensor_file(path, map_location=map_location, weights_only=weights_only)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} cannot be read as a file of weights: {error}. It must hold tensors alone, so "
            f"save model.state_dict(), not the model; and be whole."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a state dict. Save model.state_dict()."
        )
    return plain_state(content)


def plain_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take a state dict out of what it is wrapped in; drop what wrappers put before its names.

    The structure of a pruned network, inside or beside the state dict, comes along.
    """
    structure = structure_in(content)
    for key in _CONTENTS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and (isinstance(value, Tensor) or name.endswith("_extra_state"))
    }
    skip = 0
    for prefix in _WRAPPERS:
        if tensors and all(name.startswith(prefix, skip) for name in tensors):
            skip += len(prefix)
    state = OrderedDict((name[skip:], value) for name, value in tensors.items())
    metadata = metadata_of(content)
    if isinstance(metadata, Mapping):  # torch keeps the layers' versions of the format there
        known = {
            name[skip:]: value
            for name, value in metadata.items()
            if isinstance(name, str)
            and isinstance(value, Mapping)
            and isinstance(value.get("version", 1), int)
        }
        set_metadata(state, known)
    if structure:
        put_structure(state, structure)
    return state


def named_like(own: Mapping[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put back the ``module.`` that :func:`plain_state` took off, if it is the network's own.

    Args:
        own: The state of the network to load into: one that holds all it has as ``module``.
        state: What :func:`plain_state` returned.
    """
    prefix = "module."
    if not own or not state or not all(name.startswith(prefix) for name in own):
        return state
    if any(name in own for name in state):
        return state
    named = OrderedDict((f"{prefix}{name}", value) for name, value in state.items())
    metadata = metadata_of(state)
    if metadata is not None:
        versions = {f"{prefix}{name}".rstrip("."): one for name, one in metadata.items()}
        set_metadata(named, versions)
    structure = structure_in(state)
    if structure:
        put_structure(named, structure)
    return named
