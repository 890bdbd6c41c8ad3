"""AfterUpdate: what changes weights by itself, each time an optimizer has changed them."""

from __future__ import annotations

from torch import nn

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.distributed.strategy import unwrap


class AfterUpdate(Callback):
    """Calls :meth:`find` at the start of each epoch, and :meth:`act` after each update.

    Put it before callbacks that read the weights then, such as ``EMA``: those that a key of ``cfg``
    adds come first of all.
    """

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
            self.find(unwrap(engine.model))

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Act."""
        if self.engine is not None:
            self.act()
