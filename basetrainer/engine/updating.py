"""Updating: the optimizers of a run, what steps them, and the count of their updates."""

from __future__ import annotations

import logging
from typing import Any

from torch.optim import Optimizer

from basetrainer._logs import Logs
from basetrainer.distributed.context import DistContext
from basetrainer.engine.base import Base
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.position import Position
from basetrainer.engine.precision import effective
from basetrainer.engine.updater import Updater
from basetrainer.errors import UsageError

logger = logging.getLogger(__name__)


class Updating(Base):
    """Knows whether an optimizer was stepped, however that came about, and counts updates.

    Args:
        cfg: See :class:`~basetrainer.engine.engine.Engine`.
    """

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.config = EngineConfig.from_cfg(cfg)
        self.context = DistContext.current(self.config.gpu_id)
        self.config = effective(self.config, self.context.device)
        self.position = Position()
        self.model: Any = None  # an nn.Module; Any, so that trainer.model.module type-checks
        self.optimizer: Any = None  # an Optimizer, or a dict, list or tuple of them
        self._logs: Logs = {}  # of the run
        self._rates: list[Any] = []  # of all groups, at the last update
        self._nominal_count = 1.0
        self._window_ends = True  # whether an optimizer step follows the running batch
        self._is_trained = False  # whether update() was called for the running batch
        self._is_left_out = False  # whether an update of the running batch was
        self._updaters: dict[int, Updater] = {}
        self._owned: set[int] = (
            set()
        )  # keys of updaters of the engine's own optimizers, when last seen
        self._said: set[str] = set()

    @property
    def accumulate_steps(self) -> int:
        """Micro-batches per optimizer step, as configured."""
        return self.config.accumulate_steps

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizer, or all of them."""
        if self.optimizer is None:
            return []
        if isinstance(self.optimizer, dict):
            return list(self.optimizer.values())
        return (
            list(self.optimizer) if isinstance(self.optimizer, (list, tuple)) else [self.optimizer]
        )

    @property
    def lr(self) -> float:
        """The learning rate of the first parameter group of the (first) optimizer."""
        optimizer = self.optimizer
        if not hasattr(optimizer, "param_groups"):
            optimizer = next(iter(self.optimizers), None)
        return float(optimizer.param_groups[0]["lr"]) if optimizer is not None else 0.0

    def _note_rates(self) -> None:
        """Keep the learning rates of an update; a schedule that hears of it writes the next."""
        self._logs["lr"] = self.lr
        self._rates = [
            group["lr"]
            for optimizer in self.optimizers
            for group in getattr(optimizer, "param_groups", ())
        ]

    def _log_rates(self, logs: Logs) -> None:
        """Put the learning rate of each group into the logs, if there are several.

        A group that has a ``name`` is ``lr/NAME``, any other ``lr/INDEX``, counted over all
        optimizers.
        """
        if len(self._rates) > 1:
            groups = [one for each in self.optimizers for one in each.param_groups]
            for index, (group, rate) in enumerate(zip(groups, self._rates, strict=False)):
                logs[f"lr/{group.get('name', index)}"] = float(rate)

    def updater_states(self) -> list[dict[str, Any]]:
        """Return the state of what steps each optimizer: its gradient scaler, updates left out."""
        return [self._updater(optimizer).state_dict() for optimizer in self.optimizers]

    def load_updater_states(self, states: list[dict[str, Any]]) -> None:
        """Take back what :meth:`updater_states` returned."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            self._updater(optimizer).load_state_dict(state)

    @property
    def _has_several(self) -> bool:
        """Whether optimizers come in a structure; who synchronises gradients hangs on it."""
        return isinstance(self.optimizer, (dict, list, tuple))

    @property
    def _has_stepped(self) -> bool:
        """Whether an optimizer has stepped since that was last counted."""
        return any(updater.has_stepped for updater in self._updaters.values())

    def _note_update(self) -> None:
        """Count the update of the running batch, if an optimizer took one, and tell it.

        Several optimizers that step for the same batch take one update together.
        """
        has_stepped = False
        for updater in self._updaters.values():
            if updater.took_step():
                has_stepped = True
        if has_stepped:
            self._is_left_out = False
            self.position.update += 1
            self.on_optimizer_step(self.position.update, self._logs)
        elif self._is_left_out:
            self._is_left_out = False
            self.position.skipped += 1

    def _note_hand_steps(self) -> None:
        """Count what was not yet counted when the running batch ends."""
        if not (self._has_stepped or self._is_left_out):
            return
        if not self._is_trained:
            self._note_rates()
            if self.accumulate_steps > 1 and not self._window_ends:
                self._say_once(
                    f"accumulate_steps: {self.accumulate_steps} does not reach an optimizer that "
                    f"the loop steps itself: it has stepped within a window. Call "
                    f"self.update(losses) in its place, or set accumulate_steps: 1."
                )
        self._note_update()

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)

    def _flush_windows(self) -> None:
        """Step with the gradients of windows that ended before a batch of theirs was trained on."""
        for updater in self._updaters.values():
            if updater.is_window_open and not updater.step(is_reduced=False):
                self._is_left_out = True

    def _watch_optimizers(self) -> None:
        """Make the updaters of the optimizers that there are, so that hand-made steps are seen."""
        for optimizer in self.optimizers:
            if hasattr(optimizer, "param_groups"):
                self._updater(optimizer)

    def _abandon_updates(self) -> None:
        """Forget what an earlier run left half done."""
        for updater in self._updaters.values():
            updater.abandon_window()
            updater.took_step()
        self._window_ends = True
        self._is_trained = self._is_left_out = False

    def _updater(self, optimizer: Optimizer) -> Updater:
        """Return the optimizer's updater, made at its first use."""
        updater = self._updaters.get(id(optimizer))
        if updater is None:
            if optimizer is self.optimizer and self._has_several:
                raise UsageError(
                    f"There are several optimizers (a {type(optimizer).__name__}). Override "
                    f"train_step(self, inputs), and call self.update(loss, optimizer=...) for each."
                )
            self._forget_replaced()
            updater = Updater(
                optimizer,
                self.config,
                self.context,
                self.model,
                self._nominal_count,
                is_one_of_several=self._has_several,
            )
            self._updaters[id(optimizer)] = updater
        return updater

    def _forget_replaced(self) -> None:
        """Drop the updaters, and with them the state, of optimizers that were replaced."""
        own = {id(optimizer) for optimizer in self.optimizers}
        for key in self._owned - own:
            self._updaters.pop(key, None)
        self._owned = own
