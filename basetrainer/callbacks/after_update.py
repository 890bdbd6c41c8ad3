"""AfterUpdate: what changes weights by itself, each time an optimizer has changed them."""

from __future__ import annotations

from typing import Any

from torch import nn

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.strategy import unwrap


class AfterUpdate(Callback):
    """Calls :meth:`find` at the start of each epoch, and :meth:`act` after each update.

    With accumulation only some steps update; averages (``EMA``) take the weights in afterwards.
    """

    _seen_update = 0

    def find(self, network: nn.Module) -> None:
        """Look up the weights that :meth:`act` changes, in the user's own network."""
        raise NotImplementedError

    def act(self) -> None:
        """Change them; alike on all ranks."""
        raise NotImplementedError

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Look up the weights as they are now."""
        engine = self.engine
        if engine is not None:
            self._seen_update = engine.position.update
            self.find(unwrap(engine.model))

    def on_train_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        step: int,
        logs: Logs | None = None,
    ) -> None:
        """Act, if an optimizer changed the weights."""
        engine = self.engine
        if engine is not None and engine.position.update != self._seen_update:
            self._seen_update = engine.position.update
            self.act()
