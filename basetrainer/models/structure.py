"""The structure of a pruned network: what it is, and how networks and files of weights carry it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from torch import Tensor, nn

from basetrainer._torch_private import metadata_of, set_metadata
from basetrainer._wrappers import unwrap

Structure: TypeAlias = dict[str, Any]
"""What a pruned network has other than the full one; plain values, so that any file can hold it::

    {"format": 1,
     "network": {"net_type": "resnet18", "num_classes": 10, ...},   # arguments of get_models
     "layers": {"layer1.0.conv1": {"attributes": {"out_channels": 32},
                                   "shapes": {"weight": [32, -1, -1, -1]}}, ...},
     "zeros": ["conv1", ...]}                                       # layers whose zeros stay

-1 is a size as in the full network, so that a head may have other classes. ``network`` is there if
:func:`~basetrainer.models.build_models.get_models` made the network. An empty dict: not pruned."""

FORMAT = 1
_PLAIN = (bool, int, float, str, type(None))
_rebuilt: ContextVar[Structure | None] = ContextVar("rebuilt", default=None)


def structure_of(model: nn.Module) -> Structure:
    """Return the structure of a network, wrapped or not; empty if it is not pruned.

    It is kept as an attribute of the network, which copying and pickling keep, and in the metadata
    of its ``state_dict()``, so that every file of plain weights holds it too.
    """
    structure: Structure = copy.deepcopy(vars(unwrap(model)).get("_structure", {}))
    return structure


def structure_in(content: Mapping[str, Any]) -> Structure:
    """Return the structure that a file of weights holds; empty if its network was not pruned.

    Args:
        content: A state dict as ``torch.load`` returns it, or a dict with ``structure`` in it.
    """
    if isinstance(content.get("structure"), Mapping):
        return dict(content["structure"])
    metadata = metadata_of(content) or {}
    return next((dict(one["structure"]) for one in metadata.values() if one.get("structure")), {})


def put_structure(state: Mapping[str, Any], structure: Structure) -> None:
    """Let a state dict hold a structure, in the metadata that torch keeps with it."""
    metadata = metadata_of(state)
    if metadata is None:
        metadata = {}
        set_metadata(state, metadata)
    metadata[""] = {**metadata.get("", {}), "structure": structure}


def mark_pruned(model: nn.Module, structure: Structure) -> None:
    """Note on a network that it has a structure; its ``state_dict()`` then holds it."""
    if "_structure" not in vars(model):
        model.register_state_dict_post_hook(_add_structure)
    model._structure = copy.deepcopy(structure)  # type: ignore[assignment] # a plain dict


def remember_network(model: nn.Module, **arguments: Any) -> None:
    """Note on a network with what arguments ``get_models`` makes it anew, if they are plain."""
    if all(is_plain(value) for value in arguments.values()):
        model._network = arguments  # type: ignore[assignment] # a plain dict


def network_of(model: nn.Module) -> dict[str, Any]:
    """Return the arguments with which ``get_models`` makes a network; empty if it did not."""
    return copy.deepcopy(dict(vars(unwrap(model)).get("_network") or {}))


@contextmanager
def rebuilding(structure: Structure | None) -> Iterator[None]:
    """Let networks that are built inside have a structure instead of being pruned anew.

    For going on with a run: ``build_model`` then calls the functions of
    :mod:`basetrainer.pruning`, which apply the structure and need no backend.

    Args:
        structure: That of the checkpoint; None or an empty one changes nothing.
    """
    if not structure:
        yield
        return
    token = _rebuilt.set(structure)
    try:
        yield
    finally:
        _rebuilt.reset(token)


def rebuilt_structure() -> Structure | None:
    """Return the structure that :func:`rebuilding` was given, outside of it None."""
    return _rebuilt.get()


def _add_structure(
    module: nn.Module, state: Any, prefix: str, metadata: dict[str, Any]
) -> None:  # a function of this module, since hooks are pickled with their network
    metadata["structure"] = structure_of(module)


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, or a list or dict of such, which any file can hold."""
    if isinstance(value, (list, tuple)):
        return all(is_plain(one) for one in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    return isinstance(value, _PLAIN) and not isinstance(value, Tensor)
