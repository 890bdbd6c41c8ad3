"""Position: where in the run the engine is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from basetrainer._epochs import epoch_number

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine


@dataclass(slots=True)
class Position:
    """Counters that say how far the training has come.

    Attributes:
        epoch: Finished epochs.
        step: Batches of this rank that the running epoch has seen.
        update: Updates taken since the beginning of the run: batches, or windows of accumulation,
            after which an optimizer changed the weights.
        skipped: Updates of the running epoch that were left out, since gradients were not finite.
    """

    epoch: int = 0
    step: int = 0
    update: int = 0
    skipped: int = 0

    def state_dict(self) -> dict[str, int]:
        """Return the counters as plain numbers."""
        state = {"epoch": self.epoch, "step": self.step, "update": self.update}
        return {**state, "skipped": self.skipped} if self.skipped else state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take the counters from :meth:`state_dict`."""
        self.epoch, self.step, self.update = state["epoch"], state["step"], state["update"]
        self.skipped = state.get("skipped", 0)

    def end_epoch(self) -> None:
        """Count an epoch as finished."""
        self.epoch, self.step, self.skipped = self.epoch + 1, 0, 0


def is_testing(engine: Engine) -> bool:
    """Whether a run is among its test steps."""
    return engine.last_hook in ("on_test_begin", "on_test_summary")


def place_of(engine: Engine) -> str:
    """Return where a run is, in words such as ``epoch 3, step 17``."""
    position, epoch = engine.position, epoch_number(engine.epoch)
    if position.epoch > engine.epoch:
        return f"the end of epoch {epoch}"
    if is_testing(engine):
        return f"epoch {epoch}, test step {engine.test_step}"
    return f"epoch {epoch}, step {position.step}"
