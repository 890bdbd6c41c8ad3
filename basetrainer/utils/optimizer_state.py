"""The state of one optimizer, or of several in a dict, list or tuple."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from basetrainer.distributed.strategy import is_shard, like, whole


def optimizer_state(optimizer: Any) -> Any:
    """Return the state of one optimizer, or of several in the same structure.

    Of sharded parameters it is made whole: a collective call, and only rank 0 gets the tensors.
    """
    if isinstance(optimizer, dict):
        return {name: optimizer_state(one) for name, one in optimizer.items()}
    if isinstance(optimizer, (list, tuple)):
        return [optimizer_state(one) for one in optimizer]
    return whole(optimizer.state_dict()) if optimizer is not None else None


def load_optimizer_state(optimizer: Any, state: Any, *, keeps_options: bool = True) -> None:
    """Load what :func:`optimizer_state` returned.

    Args:
        optimizer: One, or several in the same structure as then.
        state: What was returned.
        keeps_options: Whether learning rate, decay and other options of the groups are loaded as
            well; otherwise they stay as they are.

    Raises:
        ValueError: If the groups differ.
        KeyError: If an optimizer has no state.
    """
    if isinstance(optimizer, dict):
        for name, one in optimizer.items():
            _load(one, state[name], keeps_options)
    elif isinstance(optimizer, (list, tuple)):
        for one, own in zip(optimizer, state, strict=True):
            _load(one, own, keeps_options)
    elif optimizer is not None:
        _load(optimizer, state, keeps_options)


def _load(optimizer: Optimizer, state: dict[str, Any], keeps_options: bool) -> None:
    if not keeps_options and len(state["param_groups"]) == len(optimizer.param_groups):
        groups = [
            {**old, **{key: value for key, value in new.items() if key != "params"}}
            for old, new in zip(state["param_groups"], optimizer.param_groups, strict=True)
        ]
        state = {**state, "param_groups": groups}
    optimizer.load_state_dict(_placed(optimizer, state))


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
