"""Which parameters, by name, are in which group of an optimizer, or of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

Groups: TypeAlias = list[list[str | None]]
"""The names of each group's parameters; None for one that nobody has a name for."""


def parameter_names(optimizer: Any, parameters: Mapping[str, Tensor]) -> Any:
    """Return the :data:`Groups` of one optimizer, or of several in the same structure.

    Args:
        optimizer: One, or a dict, list or tuple of several; None has no groups.
        parameters: All that have a name.
    """
    names = {id(one): name for name, one in parameters.items()}
    return _names(optimizer, names)


def has_groups(optimizer: Any, parameters: Mapping[str, Tensor], groups: Any) -> bool:
    """Whether the optimizer has the groups that :func:`parameter_names` returned once.

    Without any (None), as in a checkpoint of an earlier version, it counts as having them.
    """
    return groups is None or parameter_names(optimizer, parameters) == groups


def regroup(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], groups: Groups, options: list[Any]
) -> None:
    """Give an optimizer the parameter groups of then, with the parameters of now.

    Args:
        optimizer: Changed in place.
        parameters: All that have a name.
        groups: The names of then.
        options: The options of each group of then.

    Raises:
        ValueError: If a parameter of then is not known, or one of now has no name.
    """
    unknown = [name for group in groups for name in group if name not in parameters]
    if unknown:
        raise ValueError(
            f"the optimizer had {unknown[0]!r}, which is no parameter of this model or criterion"
            if unknown[0] is not None
            else "its parameter groups differ, and hold tensors that have no name"
        )
    members = [[parameters[str(name)] for name in group] for group in groups]
    own = optimizer.param_groups
    del own[len(groups) :]
    for group, new in zip(own, members, strict=False):
        group["params"] = new
    for new, values in zip(members[len(own) :], options[len(own) :], strict=True):
        given = {key: value for key, value in values.items() if key != "params"}
        names = given.pop("param_names", None)
        made = new if names is None else list(zip(names, new, strict=True))
        optimizer.add_param_group({"params": made, **given})
    kept = {id(one) for group in members for one in group}
    for parameter in [one for one in optimizer.state if isinstance(one, Tensor)]:
        if id(parameter) not in kept:
            del optimizer.state[parameter]


def _names(optimizer: Any, names: Mapping[int, str]) -> Any:
    if isinstance(optimizer, dict):
        return {key: _names(one, names) for key, one in optimizer.items()}
    if isinstance(optimizer, (list, tuple)):
        return [_names(one, names) for one in optimizer]
    return [
        [names.get(id(one)) for one in group["params"]]
        for group in getattr(optimizer, "param_groups", ())
    ]
