"""Which parameters an optimizer gets, in which groups: weight decay and learning rate of each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from basetrainer._names import did_you_mean, matches
from basetrainer._wrappers import unwrap
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

HEAD = ("fc", "classifier", "head", "heads", "aux*", "Aux*")
"""Where the networks of torchvision and timm keep their classifiers."""

_NORMS = (
    nn.modules.batchnorm._NormBase,  # BatchNorm, SyncBatchNorm, InstanceNorm
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Entry:
    """A trainable parameter and what its group is decided by."""

    name: str
    parameter: nn.Parameter
    owner: nn.Module
    layer: int
    """Which layer it belongs to, counted from the input."""


def trainable(model: nn.Module) -> list[Entry]:
    """Return the model's parameters that require a gradient, each once.

    Raises:
        ConfigError: If there is none.
    """
    every = owned(unwrap(model))
    entries = [one for one in every if one.parameter.requires_grad]
    frozen = len(every) - len(entries)
    logger.debug("optimizer: %d parameters, %d frozen ones left out", len(entries), frozen)
    return _named_from_inside(entries)


def owned(model: nn.Module) -> list[Entry]:
    """Return all parameters of a network without a wrapper, frozen or not, each once."""
    layers = layer_numbers(model)
    entries: list[Entry] = []
    seen: set[int] = set()
    for prefix, owner in model.named_modules():
        for local, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                name = f"{prefix}.{local}" if prefix else local
                entries.append(Entry(name, parameter, owner, layers[name]))
    return entries


def _named_from_inside(entries: list[Entry]) -> list[Entry]:
    """Take off what all names begin with where a network holds all it has in a wrapper's way."""
    for prefix in ("module.", "_orig_mod."):
        if entries and all(entry.name.startswith(prefix) for entry in entries):
            entries = [replace(one, name=one.name.removeprefix(prefix)) for one in entries]
    return entries


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """Number the layers from the input, 0, to the output; return that of each parameter's name.

    A layer is a child of the model. Plain containers (``Sequential``, ``ModuleList``), and whatever
    holds more than half of all weights, count as their children; a normalisation belongs to the
    layer before it. Names of tied weights are all there.
    """
    total = sum(one.numel() for one in model.parameters())
    numbers: dict[str, int] = {}
    number = -1
    for unit, names in _units(model, "", total):
        if (
            unit is None
        ):  # a container's own parameters, such as a class token, go with what follows
            numbers |= dict.fromkeys(names, number + 1)
        elif names:
            number += number < 0 or not isinstance(unit, _NORMS)
            numbers |= dict.fromkeys(names, number)
    return numbers


def _units(
    container: nn.Module, prefix: str, total: int
) -> Iterator[tuple[nn.Module | None, list[str]]]:
    """Yield the layers in order with the names of their parameters, containers as None."""
    own = container.named_parameters(recurse=False, remove_duplicate=False)
    yield None, [f"{prefix}{name}" for name, _ in own]
    for name, child in container.named_children():
        below = f"{prefix}{name}."
        size = sum(one.numel() for one in child.parameters())
        is_container = type(child) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)
        if (is_container or size > total / 2) and next(child.children(), None) is not None:
            yield from _units(child, below, total)
        else:
            inside = child.named_parameters(remove_duplicate=False)
            yield child, [f"{below}{name}" for name, _ in inside]


def is_exempt(entry: Entry) -> bool:
    """Whether weight decay would do harm: norms, biases, scales and other vectors.

    Vectors of layers that torch does not have may come with dimensions of size 1, such as a scale
    of shape ``(C, 1, 1)`` or a class token of shape ``(1, 1, C)``.
    """
    parameter = entry.parameter
    if isinstance(entry.owner, _NORMS) or parameter.ndim <= 1:
        return True
    is_of_torch = type(entry.owner).__module__.startswith("torch.nn.modules.")
    return not is_of_torch and sum(size > 1 for size in parameter.shape) <= 1


def learning_rates(
    entries: Sequence[Entry],
    lr: float,
    *,
    backbone_lr: float | None,
    layer_decay: float,
    head: str | Sequence[str],
    lr_scale: Mapping[str, float] | None = None,
) -> list[float]:
    """Return the learning rate of each entry.

    Args:
        entries: What :func:`trainable` returned.
        lr: Of the head, or of everything.
        backbone_lr: Of everything but the head; None is ``lr``.
        layer_decay: Learning rate of a layer over that of the next one, towards the output.
        head: Patterns of the names of the head's modules or parameters.
        lr_scale: Factors by patterns of names; of several that match, the last one counts.

    Raises:
        ConfigError: If there is a learning rate for the backbone, and no head or nothing else; if
            a pattern matches nothing.
    """
    scales = [1.0] * len(entries)
    for pattern, scale in (lr_scale or {}).items():
        chosen = [index for index, one in enumerate(entries) if matches(one.name, pattern)]
        if not chosen:
            raise ConfigError(
                f"lr_scale: no trained parameter matches {pattern!r}."
                f"{did_you_mean(pattern, _names(entries))} There are "
                f"{', '.join(dict.fromkeys(one.name.partition('.')[0] for one in entries))}."
            )
        for index in chosen:
            scales[index] = scale
    is_head = [matches(entry.name, head) for entry in entries]
    if backbone_lr is not None and len(set(is_head)) < 2:
        found = "every parameter" if any(is_head) else "no parameter"
        names = dict.fromkeys(entry.name.partition(".")[0] for entry in entries)
        raise ConfigError(
            f"backbone_lr={backbone_lr} needs to know the head from the rest, but {found} "
            f"matches head={head!r}. Name the head's module: there are {', '.join(names)}."
        )
    last = max((entry.layer for entry in entries), default=0)
    return [
        (lr if in_head or backbone_lr is None else backbone_lr)
        * layer_decay ** (last - entry.layer)
        * scale
        for entry, in_head, scale in zip(entries, is_head, scales, strict=True)
    ]


def _names(entries: Sequence[Entry]) -> list[str]:
    """Return the names of the parameters and of the modules that they are in."""
    parts = [one.name.split(".") for one in entries]
    return list(
        dict.fromkeys(".".join(one[:size]) for one in parts for size in range(1, len(one) + 1))
    )


def group_by(
    entries: Sequence[Entry], rates: Sequence[float], weight_decay: float | None, *, split: bool
) -> list[dict[str, Any]]:
    """Return parameter groups: the highest learning rate first, exempt parameters before others.

    Args:
        entries: The parameters.
        rates: The learning rate of each.
        weight_decay: For the groups that decay; None is the optimizer's own default.
        split: Whether some parameters are exempt from it.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for entry, rate in zip(entries, rates, strict=True):
        decays = not (split and is_exempt(entry))
        groups.setdefault((-rate, decays), []).append(entry.parameter)
    made: list[dict[str, Any]] = []
    for (negative_rate, decays), parameters in sorted(groups.items(), key=lambda item: item[0]):
        group: dict[str, Any] = {"params": parameters, "lr": -negative_rate}
        if not decays:
            group["weight_decay"] = 0.0
        elif weight_decay is not None:
            group["weight_decay"] = weight_decay
        made.append(group)
    return made


def extra_groups(
    parameters: Iterable[Any], taken: Iterable[Tensor]
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Sort a user's extra parameters: those without a group of their own, and the groups.

    Args:
        parameters: Tensors, or groups as torch's optimizers take them.
        taken: Parameters that are there already; they are left out, as frozen ones are.

    Raises:
        ConfigError: If something else is among them.
    """
    seen = {id(one) for one in taken}
    loose: list[Any] = []
    groups: list[dict[str, Any]] = []
    for item in parameters:
        members = item.get("params", ()) if isinstance(item, dict) else [item]
        fresh: list[Any] = []
        for one in [members] if isinstance(members, Tensor) else members:
            if not isinstance(one, Tensor):
                raise ConfigError(
                    f"parameters has a {type(one).__name__} in it. Give a list of parameters, such "
                    f"as list(criterion.parameters()), or of groups {{'params': [...]}}."
                )
            if one.requires_grad and id(one) not in seen:
                seen.add(id(one))
                fresh.append(one)
        if isinstance(item, dict):
            groups += [{**item, "params": fresh}] if fresh else []
        else:
            loose += fresh
    return loose, groups
