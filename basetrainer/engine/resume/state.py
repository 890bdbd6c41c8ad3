"""The one state tree of a run, collected from an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from basetrainer._logs import Logs
from basetrainer.checkpoint.rng import rng_state
from basetrainer.checkpoint.tree import check_tree, writable
from basetrainer.distributed.model_state import full_state
from basetrainer.distributed.strategy import is_sharded, unwrap
from basetrainer.engine.base import Base
from basetrainer.errors import UsageError
from basetrainer.utils.optimizer_names import parameter_names
from basetrainer.utils.optimizer_state import optimizer_state

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine


def collect(engine: Engine, logs: Logs) -> dict[str, Any]:
    """Return all that the run needs to go on; collective, and empty but on rank 0.

    ::

        {"format": 1, "epoch": finished epochs - 1, "model", "criterion", "optimizer",
         "engine": {"position", "updaters", "logs", "callbacks": {key: state},
                    "parameters": the names in each parameter group of the optimizer},
         "ranks": [{"rng", "own", "data", "callbacks": {key: state}} for each rank]}

    ``epoch``, ``model`` and ``optimizer`` make the file a ``model_optimizer.pth``, too. Values that
    a file of tensors does not hold are written as :mod:`basetrainer._plain_values` has it.

    Raises:
        UsageError: If a part could not be loaded again; names the part and the key.
    """
    shared, mine = callback_states(engine)
    own = writable(engine.state_dict(), f"{type(engine).__name__}.state_dict()")
    position = engine.position
    place = engine.training_data.state(engine.train_loader, position)
    place = writable(place, "the training data's state_dict()")
    rank = {"rng": rng_state(engine.device), "own": own, "data": place, "callbacks": mine}
    ranks = engine.context.gather(rank)  # Collective: every rank must get here.
    model, optimizer = full_state(engine.model), optimizer_state(engine.optimizer)  # likewise
    if not engine.context.is_main:
        return {}
    criterion = engine.criterion
    return {
        "format": 1,
        "epoch": position.epoch - 1,
        "model": model,
        "criterion": full_state(criterion) if isinstance(criterion, nn.Module) else {},
        "optimizer": writable(optimizer, "optimizer.state_dict()"),
        "engine": {
            "position": position.state_dict(),
            "updaters": engine.updater_states(),
            "logs": _plain_logs(logs),
            "callbacks": shared,
            "parameters": parameter_names(engine.optimizer, known_parameters(engine)),
        },
        "ranks": ranks,
    }


def check_state(engine: Engine) -> None:
    """Refuse, before the first step, what could not be loaded again; copies no weights.

    Raises:
        UsageError: Names the part, the key and what to write instead.
    """
    callback_states(engine)
    check_tree(engine.state_dict(), f"{type(engine).__name__}.state_dict()")
    for module in (engine.model, engine.criterion):
        if isinstance(module, nn.Module) and not is_sharded(module):
            full_state(module)


def known_parameters(engine: Engine) -> dict[str, Tensor]:
    """Return the parameters of model and criterion by name."""
    parameters: dict[str, Tensor] = dict(unwrap(engine.model).named_parameters())
    if isinstance(engine.criterion, nn.Module):
        for name, one in engine.criterion.named_parameters():
            parameters[f"criterion.{name}"] = one
    return parameters


def callback_states(engine: Engine) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the states that all ranks share, on rank 0 only, and those of this rank.

    Raises:
        UsageError: If one could not be loaded again; names the callback and the key.
    """
    shared: dict[str, Any] = {}
    mine: dict[str, Any] = {}
    for number, (key, callback) in enumerate(keyed(engine.callbacks)):
        if callback.shares_state and not engine.context.is_main:
            continue
        state = writable(callback.state_dict(), f"callbacks/{number}, {key}.state_dict()")
        (shared if callback.shares_state else mine)[key] = state
    return shared, mine


def keyed(callbacks: Sequence[Base]) -> Iterator[tuple[str, Base]]:
    """Yield each callback with its key: its class, and a number from the second of a class on."""
    seen: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        number = seen[name] = seen.get(name, -1) + 1
        yield f"{name}#{number}" if number else name, callback


def _plain_logs(logs: Logs) -> dict[str, Any]:
    """Return the logs as plain dicts; what a user put there and cannot be kept is left out."""
    plain: dict[str, Any] = {}
    for name, value in logs.items():
        value = _plain(value)
        try:
            plain[name] = writable(value, f"logs[{name!r}]")
        except UsageError:
            continue
    return plain


def _plain(value: Any) -> Any:
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value
