"""TimeLimit: end the run after so many minutes."""

from __future__ import annotations

import time

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.errors import ConfigError


class TimeLimit(Callback):
    """Stops at the first step after ``max_minutes``, counted from the start of ``run()``.

    Args:
        max_minutes: Wall-clock minutes.

    Raises:
        ConfigError: If it is not positive.
    """

    def __init__(self, max_minutes: float) -> None:
        super().__init__()
        if not max_minutes > 0:
            raise ConfigError(f"max_minutes: {max_minutes} must be positive.")
        self.max_minutes = max_minutes
        self._deadline = float("inf")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start the clock."""
        self._deadline = time.monotonic() + 60.0 * self.max_minutes

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Stop if time is up."""
        if time.monotonic() >= self._deadline and self.engine is not None:
            self.engine.stop(f"max_minutes: {self.max_minutes:g} are over", is_final=False)
