"""The state of one optimizer, or of several in a dict, list or tuple."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from basetrainer._plain_values import decode
from basetrainer.distributed.strategy import is_shard, like, unwrap, whole
from basetrainer.utils.optimizer_names import Groups, has_groups, parameter_names, regroup

logger = logging.getLogger(__name__)


def optimizer_state(optimizer: Any) -> Any:
    """Return the state of one optimizer, or of several in the same structure.

    Of sharded parameters it is made whole: a collective call, and only rank 0 gets the tensors.
    """
    if isinstance(optimizer, dict):
        return {name: optimizer_state(one) for name, one in optimizer.items()}
    if isinstance(optimizer, (list, tuple)):
        return [optimizer_state(one) for one in optimizer]
    return whole(optimizer.state_dict()) if optimizer is not None else None


def load_optimizer_state(
    optimizer: Any,
    state: Any,
    *,
    keeps_options: bool = True,
    regroups: bool = True,
    names: Any = None,
    parameters: Mapping[str, Tensor] | None = None,
) -> None:
    """Load what :func:`optimizer_state` returned.

    Args:
        optimizer: One, or several in the same structure as then.
        state: What was returned.
        keeps_options: Whether learning rate, decay and other options of the groups are loaded as
            well; otherwise they stay as they are.
        regroups: With names: whether parameters get the groups of then. Otherwise they stay in
            those of now, and each takes its own state along.
        names: What :func:`~basetrainer.utils.optimizer_names.parameter_names` returned then; None
            counts on the same order of the same parameters.
        parameters: The parameters of now, by name.

    Raises:
        ValueError: If the groups differ, or it is the state of another kind of optimizer.
        KeyError: If an optimizer has no state.
    """
    options: dict[str, Any] = {"keeps_options": keeps_options, "regroups": regroups}
    options["parameters"] = parameters or {}
    if isinstance(optimizer, dict):
        for name, one in optimizer.items():
            _load(one, state[name], names=names and names.get(name), **options)
    elif isinstance(optimizer, (list, tuple)):
        several = names if isinstance(names, list) else [None] * len(optimizer)
        for one, own, its_names in zip(optimizer, state, several, strict=True):
            _load(one, own, names=its_names, **options)
    elif optimizer is not None:
        _load(optimizer, state, names=names, **options)


def load_saved_optimizer(optimizer: Any, content: Mapping[str, Any], model: nn.Module) -> None:
    """Load the optimizer's state in the content of a ``model_optimizer.pth``.

    Raises:
        ValueError: As :func:`load_optimizer_state`, or a KeyError.
    """
    names = (content.get("engine") or {}).get("parameters")
    parameters = dict(unwrap(model).named_parameters())
    load_optimizer_state(
        optimizer, decode(content["optimizer"]), names=names, parameters=parameters
    )


def _load(
    optimizer: Optimizer,
    state: dict[str, Any],
    *,
    keeps_options: bool,
    regroups: bool,
    names: Groups | None,
    parameters: Mapping[str, Tensor],
) -> None:
    if _is_of_another(optimizer, state):
        if regroups:
            raise ValueError(
                f"it is the state of another kind of optimizer than {type(optimizer).__name__}"
            )
        logger.warning(
            "the optimizer begins without the state of then: that is of another kind than %s",
            type(optimizer).__name__,
        )
        return
    if names is not None and not has_groups(optimizer, parameters, names):
        if regroups:
            regroup(optimizer, parameters, names, state["param_groups"])
        else:
            state = _in_own_groups(optimizer, state, names, parameters)
    if not keeps_options and len(state["param_groups"]) == len(optimizer.param_groups):
        groups = [
            {**old, **{key: value for key, value in new.items() if key != "params"}}
            for old, new in zip(state["param_groups"], optimizer.param_groups, strict=True)
        ]
        state = {**state, "param_groups": groups}
    state = _placed(optimizer, state)
    optimizer.load_state_dict(state)
    _restore_types(optimizer, state)


def _is_of_another(optimizer: Optimizer, state: dict[str, Any]) -> bool:
    """Whether both have options that the other one does not know."""
    defaults = getattr(optimizer, "defaults", None)
    groups = state["param_groups"]
    if not defaults or not groups:
        return False
    then = set(groups[0]) - {"params", "initial_lr", "param_names"}
    lacks, extra = set(defaults) - then, then - set(defaults) - set(optimizer.param_groups[0])
    return bool(lacks and extra)


def _in_own_groups(
    optimizer: Optimizer,
    state: dict[str, Any],
    names: Groups,
    parameters: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Return the state numbered as the optimizer's own groups are; options are those of now."""
    numbers = [one for group in state["param_groups"] for one in group["params"]]
    then = dict(zip([one for group in names for one in group], numbers, strict=True))
    own = optimizer.state_dict()
    own_numbers = [one for group in own["param_groups"] for one in group["params"]]
    own_names = [one for group in parameter_names(optimizer, parameters) for one in group]
    kept = {
        number: state["state"][then[name]]
        for number, name in zip(own_numbers, own_names, strict=True)
        if name is not None and then.get(name) in state["state"]
    }
    return {"state": kept, "param_groups": own["param_groups"]}


def _restore_types(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Undo what ``load_state_dict`` casts to the parameter's type: a float32 sum of float16."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    numbers = [one for group in state["param_groups"] for one in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        own = optimizer.state.get(parameter, {})
        for name, value in state["state"].get(number, {}).items():
            found = own.get(name)
            are_tensors = isinstance(value, Tensor) and isinstance(found, Tensor)
            if are_tensors and found.dtype != value.dtype:
                own[name] = value.detach().to(found.device, copy=True)


def _placed(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state sharded as the parameters are."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    if not any(is_shard(one) for one in parameters):
        return state
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    own = dict(zip(numbers, parameters, strict=True))
    placed = {
        number: {name: like(value, own[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": placed}
