"""Restored: the state tree of a run on its way back into an engine."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from basetrainer._logs import Logs, SetLogs
from basetrainer._plain_values import decode, encode
from basetrainer.checkpoint.rng import set_rng_state
from basetrainer.checkpoint.tree import snapshot
from basetrainer.distributed.model_state import load_full_state, own_state
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.resume.model_fit import check_model
from basetrainer.engine.resume.state import keyed, known_parameters
from basetrainer.errors import CheckpointError
from basetrainer.models.fresh import restore_flags
from basetrainer.utils.optimizer_names import has_groups
from basetrainer.utils.optimizer_state import load_optimizer_state

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

_MISFITS = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError)
"""What loading a state that does not fit can raise."""


class Restored:
    """A state tree on its way back into an engine.

    Args:
        tree: What :func:`~basetrainer.engine.resume.state.collect` returned on rank 0.
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
            self._rank = decode(ranks[engine.context.rank if self._has_rng else 0])
            self._states.update(_states_for(engine, ranks))
            position = tree["engine"]["position"]
            self._is_within_epoch = bool(position["step"] > 0)
            model = tree["model"]
            # Checkpoints of earlier versions have no names.
            self._names = tree["engine"].get("parameters")
        except _MISFITS as error:
            raise CheckpointError(f"{source} is no state of a run: {error!r} is wrong.") from error
        check_model(model, own_state(engine.model), source)
        self._tree = tree
        self._engine = engine
        self._source = source
        self._keeps_options = self._is_same_optimizer = True
        self._waits_for_groups = False

    def apply(
        self, logs: Logs, *, keeps_options: bool = True, is_same_optimizer: bool = True
    ) -> None:
        """Load model, criterion, optimizers, position, logs and callbacks.

        Args:
            logs: The run's logs, filled with the metrics of then.
            keeps_options: Whether the optimizer's learning rate, decay and so on are those of
                then, too, or those that it was made with now.
            is_same_optimizer: Whether the optimizer was made as then, so that parameter groups
                that it lacks were added while training. Otherwise it keeps its own groups.

        Raises:
            CheckpointError: If a part does not take its state.
        """
        engine, tree = self._engine, self._tree
        try:
            load_full_state(engine.model, tree["model"])
            if isinstance(engine.criterion, nn.Module):
                load_full_state(engine.criterion, tree["criterion"])
            self._keeps_options, self._is_same_optimizer = keeps_options, is_same_optimizer
            # Who added a group in on_train_begin or on_epoch_begin does so again.
            self._waits_for_groups = is_same_optimizer and not has_groups(
                engine.optimizer, known_parameters(engine), self._names
            )
            if not self._waits_for_groups:
                self._load_optimizer()
            engine.position.load_state_dict(tree["engine"]["position"])
            engine.load_updater_states(tree["engine"]["updaters"])
            engine.training_data.place = self._rank["data"]
            engine.load_state_dict(self._rank["own"])
            logs.update(decode(tree["engine"]["logs"]))
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
        if self._waits_for_groups:
            try:
                restore_flags(unwrap(self._engine.model), self._tree["model"])
                self._load_optimizer()
            except _MISFITS as error:
                raise CheckpointError(f"{self._source} does not fit this run: {error}") from error
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
    def lr(self) -> float | None:
        """The learning rate of then, of the first group of the first optimizer; None if none."""
        state = self._tree["optimizer"]
        while isinstance(state, (list, tuple)) or (
            isinstance(state, dict) and "param_groups" not in state
        ):
            state = next(iter(state.values() if isinstance(state, dict) else state), None)
        groups = state["param_groups"] if state else []
        return float(groups[0]["lr"]) if groups and "lr" in groups[0] else None

    @property
    def is_within_epoch(self) -> bool:
        """Whether the run goes on in the middle of an epoch."""
        return self._is_within_epoch

    def _load_optimizer(self) -> None:
        engine = self._engine
        load_optimizer_state(
            engine.optimizer,
            decode(self._tree["optimizer"]),
            keeps_options=self._keeps_options,
            regroups=self._is_same_optimizer,
            names=self._names,
            parameters=known_parameters(engine),
        )

    def _load_callbacks(self, states: dict[str, Any]) -> None:
        for key, callback in keyed(self._engine.callbacks):
            if key in states:
                try:
                    callback.load_state_dict(decode(states[key]))
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
        key: encode(
            callbacks[key].state_for(rank, [decode(one["callbacks"][key]) for one in ranks])
        )
        if key in callbacks
        else state
        for key, state in own.items()
    }
