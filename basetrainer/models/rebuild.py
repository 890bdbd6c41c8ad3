"""Describe what pruning made of a network, and make a full network as small."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from basetrainer._wrappers import unwrap
from basetrainer.errors import CheckpointError, PruningError
from basetrainer.models.structure import FORMAT, Structure, is_plain, mark_pruned, structure_of


def apply_structure(model: nn.Module, structure: Structure) -> nn.Module:
    """Make a full network, in place, as small as a pruned one was; weights are cut, not chosen.

    Load the pruned weights afterwards. Parameters are new objects: make the optimizer, averages and
    wrappers later. A network that has the structure already stays as it is.

    Args:
        model: The full network, or one that was pruned less; wrapped or not.
        structure: What :func:`~basetrainer.models.structure.structure_of` or
            :func:`~basetrainer.models.structure.structure_in` returned.

    Returns:
        ``model``.

    Raises:
        CheckpointError: If the structure is that of another network; nothing is changed then.
    """
    if not structure:
        return model
    if structure.get("format") != FORMAT:
        raise CheckpointError(
            f"The structure of the pruned network has format {structure.get('format')!r}; this "
            f"version reads {FORMAT}. Update basetrainer."
        )
    network = unwrap(model)
    modules = dict(network.named_modules())
    changes = [
        (module, key, value)
        for name, layer in structure["layers"].items()
        for module in [_module(network, modules, name)]
        for key, value in _changes(name, module, layer)
    ]
    parameters: dict[int, nn.Parameter] = {}
    for module, key, value in changes:
        old = getattr(module, key)
        if isinstance(old, nn.Parameter):
            value = parameters.setdefault(id(old), nn.Parameter(value, old.requires_grad))
        setattr(module, key, value)
    own = vars(network).get("_network")  # its number of classes may be another
    structure = {key: value for key, value in structure.items() if key != "network"}
    mark_pruned(network, {**structure, "network": own} if own is not None else structure)
    return model


def structure_between(full: nn.Module, pruned: nn.Module) -> Structure:
    """Describe what pruning made of a network.

    Args:
        full: Before; it may be pruned less, the result then has both.
        pruned: After.

    Raises:
        PruningError: If a layer was replaced by something else, or became larger.
    """
    before = dict(full.named_modules())
    known = structure_of(full)
    layers = dict(known.get("layers", {}))
    for name, module in pruned.named_modules():
        old = before.get(name)
        if old is None or type(old) is not type(module):
            raise PruningError(
                f"Pruning replaced {name!r} ({type(old).__name__}) by a {type(module).__name__}, "
                f"which cannot be rebuilt. Leave it out by exclude=[{name!r}]."
            )
        new = _difference(name, old, module)
        if any(new.values()):
            layers[name] = _merged(layers.get(name), new)
    structure: Structure = {"format": FORMAT, "layers": layers}
    if (network := vars(full).get("_network")) is not None:
        structure["network"] = copy.deepcopy(network)
    if known.get("zeros"):
        structure["zeros"] = known["zeros"]
    return structure


def _module(network: nn.Module, modules: dict[str, nn.Module], name: str) -> nn.Module:
    if name not in modules:
        raise CheckpointError(
            f"The pruned network has a layer {name!r}, {type(network).__name__} has not. Is it the "
            f"structure of another network?"
        )
    return modules[name]


def _changes(name: str, module: nn.Module, layer: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes and tensors that a layer must get."""
    for key, value in layer["attributes"].items():
        if key not in vars(module) or not is_plain(value):
            raise CheckpointError(
                f"{name} ({type(module).__name__}) has no attribute {key!r} to set to {value!r}. "
                f"Is it the structure of another network?"
            )
        yield key, tuple(value) if isinstance(vars(module)[key], tuple) else value
    tensors = _tensors(module)
    for key, sizes in layer["shapes"].items():
        own = tensors.get(key)
        fits = own is not None and own.ndim == len(sizes)
        if not fits or any(size > have for size, have in zip(sizes, own.shape, strict=True)):  # type: ignore[union-attr]
            raise CheckpointError(
                f"{name}.{key} of the pruned network has the shape {sizes}, that of this network "
                f"{list(own.shape) if own is not None else None}. Is it pruned already, or another "
                f"network?"
            )
        kept = tuple(slice(None if size < 0 else size) for size in sizes)
        if own is not None and own[kept].shape != own.shape:
            yield key, own.detach()[kept].clone()


def _difference(name: str, full: nn.Module, pruned: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the attributes and sizes of one layer that changed."""
    attributes = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(pruned).items()
        if key != "training" and not key.startswith("_") and is_plain(value)
        if key in vars(full) and vars(full)[key] != value
    }
    before, shapes = _tensors(full), {}
    for key, value in _tensors(pruned).items():
        old = before.get(key)
        if (
            old is None
            or old.ndim != value.ndim
            or any(now > then for now, then in zip(value.shape, old.shape, strict=True))
        ):
            raise PruningError(
                f"Pruning made {name}.{key} {tuple(value.shape)} out of "
                f"{tuple(old.shape) if old is not None else None}: not a part of it. Leave the "
                f"layer out by exclude=[{name!r}]."
            )
        if old.shape != value.shape:
            sizes = zip(value.shape, old.shape, strict=True)
            shapes[key] = [-1 if now == then else now for now, then in sizes]
    return {"attributes": attributes, "shapes": shapes}


def _merged(known: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a layer that was pruned again."""
    if known is None:
        return new
    shapes = dict(known["shapes"])
    for key, sizes in new["shapes"].items():
        before = shapes.get(key, [-1] * len(sizes))
        pairs = zip(sizes, before, strict=True)
        shapes[key] = [then if now < 0 else now for now, then in pairs]
    return {"attributes": {**known["attributes"], **new["attributes"]}, "shapes": shapes}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers that are a module's own."""
    return {
        **dict(module.named_parameters(recurse=False)),
        **dict(module.named_buffers(recurse=False)),
    }
