"""The one state tree of a run: collected from an engine, checked, and given back to one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from basetrainer._logs import Logs, SetLogs
from basetrainer.checkpoint.rng import rng_state, set_rng_state
from basetrainer.checkpoint.tree import check_tree, snapshot
from basetrainer.distributed.strategy import full_state, load_full_state, own_state
from basetrainer.engine.base import Base
from basetrainer.errors import CheckpointError, UsageError
from basetrainer.utils.optimizer_state import load_optimizer_state, optimizer_state

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

_MISFITS = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError)
"""What loading a state that does not fit can raise."""


def collect(engine: Engine, logs: Logs) -> dict[str, Any]:
    """Return all that the run needs to go on; collective, and empty but on rank 0.

    ::

        {"format": 1, "epoch": finished epochs - 1, "model", "criterion", "optimizer",
         "engine": {"position", "updaters", "logs", "callbacks": {key: state}},
         "ranks": [{"rng", "own", "data", "callbacks": {key: state}} for each rank]}

    ``epoch``, ``model`` and ``optimizer`` make the file a ``model_optimizer.pth``, too.

    Raises:
        UsageError: If a part could not be loaded again; names the part and the key.
    """
    shared, mine = callback_states(engine)
    own = engine.state_dict()
    check_tree(own, f"{type(engine).__name__}.state_dict()")
    position = engine.position
    place = engine.training_data.state(engine.train_loader, position)
    check_tree(place, "the training data's state_dict()")
    rank = {"rng": rng_state(engine.device), "own": own, "data": place, "callbacks": mine}
    ranks = engine.context.gather(rank)  # Collective: every rank must get here.
    model, optimizer = full_state(engine.model), optimizer_state(engine.optimizer)  # likewise
    if not engine.context.is_main:
        return {}
    criterion = engine.criterion
    parts = {
        "model": model,
        "criterion": criterion.state_dict() if isinstance(criterion, nn.Module) else {},
        "optimizer": optimizer,
    }
    for name, part in parts.items():
        check_tree(part, f"{name}.state_dict()")
    return {
        "format": 1,
        "epoch": position.epoch - 1,
        **parts,
        "engine": {
            "position": position.state_dict(),
            "updaters": engine.updater_states(),
            "logs": _plain_logs(logs),
            "callbacks": shared,
        },
        "ranks": ranks,
    }


def callback_states(engine: Engine) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the states that all ranks share, on rank 0 only, and those of this rank.

    Raises:
        UsageError: If one could not be loaded again; names the callback and the key.
    """
    shared: dict[str, Any] = {}
    mine: dict[str, Any] = {}
    for key, callback in keyed(engine.callbacks):
        if callback.shares_state and not engine.context.is_main:
            continue
        state = callback.state_dict()
        check_tree(state, f"{key}.state_dict()")
        (shared if callback.shares_state else mine)[key] = state
    return shared, mine


def keyed(callbacks: Sequence[Base]) -> Iterator[tuple[str, Base]]:
    """Yield each callback with its key: its class, and a number from the second of a class on."""
    seen: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        number = seen[name] = seen.get(name, -1) + 1
        yield f"{name}#{number}" if number else name, callback


class Restored:
    """A state tree on its way back into an engine.

    Args:
        tree: What :func:`collect` returned on rank 0.
        engine: The engine; nothing of it is changed before :meth:`apply`.
        source: Where the tree comes from, for messages.

    Raises:
        CheckpointError: If it does not fit the engine's model or optimizer.
    """

    def __init__(self, tree: Any, engine: Engine, source: str) -> None:
        try:
            ranks = tree["ranks"]
            self._states = dict(tree["engine"]["callbacks"])
            # A rank that the run did not have before begins like rank 0, but draws for itself.
            self._has_rng = engine.context.rank < len(ranks)
            self._rank = ranks[engine.context.rank if self._has_rng else 0]
            self._states.update(_states_for(engine, ranks))
            position = tree["engine"]["position"]
            self._is_within_epoch = bool(position["step"] > 0)
            model = tree["model"]
        except _MISFITS as error:
            raise CheckpointError(f"{source} is no state of a run: {error!r} is wrong.") from error
        check_model(model, own_state(engine.model), source)
        self._tree = tree
        self._engine = engine
        self._source = source

    def apply(self, logs: Logs, *, keeps_options: bool = True) -> None:
        """Load model, criterion, optimizers, position, logs and callbacks.

        Args:
            logs: The run's logs, filled with the figures of then.
            keeps_options: Whether the optimizer's learning rate, decay and so on are those of
                then, too, or those that it was made with now.

        Raises:
            CheckpointError: If a part does not take its state.
        """
        engine, tree = self._engine, self._tree
        try:
            load_full_state(engine.model, tree["model"])
            if isinstance(engine.criterion, nn.Module):
                engine.criterion.load_state_dict(tree["criterion"])
            load_optimizer_state(engine.optimizer, tree["optimizer"], keeps_options=keeps_options)
            engine.position.load_state_dict(tree["engine"]["position"])
            engine.load_updater_states(tree["engine"]["updaters"])
            engine.training_data.place = self._rank["data"]
            engine.load_state_dict(self._rank["own"])
            logs.update(tree["engine"]["logs"])
        except _MISFITS as error:
            raise CheckpointError(f"{self._source} does not fit this run: {error!r}") from error
        if isinstance(engine.test_loader, Mapping) and "test" in logs:
            logs["test"] = SetLogs(logs["test"])
        # Copies: they may be counted on before finish() gives the originals.
        self._load_callbacks(snapshot(self._states) if self._is_within_epoch else self._states)
        known = {key for key, _ in keyed(engine.callbacks)}
        for key in sorted(key for key, state in self._states.items() if state and key not in known):
            logger.warning("%s has the state of %s, which this run lacks", self._source, key)
        for key, callback in keyed(engine.callbacks):
            if key not in self._states and callback.state_dict():
                logger.warning("%s has no state for %s: it begins anew", self._source, key)

    def finish(self) -> None:
        """Do what comes right before the first batch (or the first hook of a new epoch).

        Within an epoch ``on_epoch_begin`` has just reset what the callbacks had counted since the
        epoch's begin: they get it back. Nothing is drawn from here to the first step.
        """
        if self._is_within_epoch:
            self._load_callbacks(self._states)
        if self._has_rng:
            try:
                set_rng_state(self._rank["rng"], self._engine.device)
            except _MISFITS as error:
                raise CheckpointError(
                    f"{self._source}: its random number generators cannot be restored: {error!r}"
                ) from error

    @property
    def is_within_epoch(self) -> bool:
        """Whether the run goes on in the middle of an epoch."""
        return self._is_within_epoch

    def _load_callbacks(self, states: dict[str, Any]) -> None:
        for key, callback in keyed(self._engine.callbacks):
            if key in states:
                try:
                    callback.load_state_dict(states[key])
                except _MISFITS as error:
                    raise CheckpointError(
                        f"{self._source}: {key}.load_state_dict does not take what "
                        f"{key}.state_dict() returned then: {error!r}"
                    ) from error


def _states_for(engine: Engine, ranks: Sequence[Any]) -> dict[str, Any]:
    """Return the states of the callbacks, of those that each rank has its own of, for this rank."""
    rank = engine.context.rank
    own: dict[str, Any] = ranks[rank if rank < len(ranks) else 0]["callbacks"]
    if len(ranks) == engine.context.world_size:
        return own
    callbacks = dict(keyed(engine.callbacks))
    return {
        key: callbacks[key].state_for(rank, [one["callbacks"][key] for one in ranks])
        if key in callbacks
        else state
        for key, state in own.items()
    }


def check_model(state: Any, own: Mapping[str, Tensor], source: str) -> None:
    """Compare keys and shapes, before memory is taken.

    Raises:
        CheckpointError: If they differ; names up to three of them.
    """
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{source} holds no model.")
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} ({_shape(state[name])} there, {_shape(value)} here)"
        for name, value in own.items()
        if name in state and isinstance(value, Tensor) and _shape(state[name]) != _shape(value)
    ]
    faults = [
        f"{what}: {', '.join(map(str, names[:3]))}{' and more' if len(names) > 3 else ''}"
        for what, names in (
            ("not in it", missing),
            ("not in the model", unexpected),
            ("of another shape", shapes),
        )
        if names
    ]
    if faults:
        raise CheckpointError(
            f"{source} is of another model ({'; '.join(faults)}). Build the model it was written "
            f"with, or load what fits with finetune."
        )


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _plain_logs(logs: Logs) -> dict[str, Any]:
    """Return the logs as plain dicts; what a user put there and cannot be kept is left out."""
    plain: dict[str, Any] = {}
    for name, value in logs.items():
        value = _plain(value)
        try:
            check_tree(value, f"logs[{name!r}]")
        except UsageError:
            continue
        plain[name] = value
    return plain


def _plain(value: Any) -> Any:
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value
