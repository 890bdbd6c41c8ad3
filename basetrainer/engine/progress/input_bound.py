"""StarvedStep: say when training waits for its data, and which setting to try."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from basetrainer._epochs import epoch_number
from basetrainer.utils.posix import num_cores

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine
    from basetrainer.engine.progress.clock import Clock

logger = logging.getLogger(__name__)

SHARE = 0.25
"""From which share of the training time on a wait for data is worth a line."""

MIN_SECONDS = 5.0
"""How long the training of an epoch must take for its shares to mean something."""

MAX_LINES = 2
"""How often it is said in a run."""


class StarvedStep:
    """Warns of epochs in which the loader kept the step waiting."""

    def __init__(self) -> None:
        self._num_lines = 0
        self._is_first = True

    def look(self, engine: Engine, clock: Clock) -> None:
        """Warn if the step was starved in the epoch that ``clock`` has just settled."""
        seconds = clock.epoch
        training = seconds["data"] + seconds["step"] + seconds["callbacks"]
        # The first start of the workers takes its time, and says nothing about later epochs.
        start = clock.first_wait if self._is_first else 0.0
        self._is_first = False
        if self._num_lines == MAX_LINES or training < MIN_SECONDS:
            return
        share = (seconds["data"] - start - hidden_wait(engine, clock)) / training
        if share >= SHARE:
            self._num_lines += 1
            cores = max(1, num_cores() // engine.context.local_world_size)
            logger.warning(
                "the loader starves the step: %.0f%% of the training time of epoch %d was spent "
                "waiting for data. %s",
                100 * share,
                epoch_number(engine.epoch),
                advice(engine.train_loader, clock, cores),
            )


def hidden_wait(engine: Engine, clock: Clock) -> float:
    """Return how much of the wait for data an accelerator had work enough for, an estimate.

    The device goes on with what was launched while the host waits for a batch. How far it is behind
    shows at log points, where the host waits for the last loss: a forward pass, which is a third
    of a step's work, if the device has kept up, and many steps if it has not.
    """
    if engine.device.type == "cpu":
        return 0.0
    guard = engine.guard
    if guard is None or not guard.num_checks:
        return math.inf  # nobody has looked
    return 3 * clock.num_batches * guard.seconds / guard.num_checks


def advice(loader: Any, clock: Clock, cores: int) -> str:
    """Return which setting to try, as far as the loader shows it.

    Args:
        loader: The training loader.
        clock: Has measured the epoch.
        cores: Processor cores for this process and its workers.
    """
    if not isinstance(loader, DataLoader):
        return (
            f"A {type(loader).__name__} loads in this process: a DataLoader with workers would "
            f"load while the step runs."
        )
    workers = loader.num_workers
    if workers == 0:
        return f"num_workers=0 loads between the steps: try num_workers={max(1, min(cores, 8))}."
    if not loader.persistent_workers and clock.first_wait > clock.epoch["data"] / 2:
        return "Most of it is the start of the workers: try persistent_workers=True."
    if workers < cores:
        more = min(2 * workers, cores)
        return f"num_workers={workers} leaves cores idle: try num_workers={more}."
    return (
        f"The {workers} workers have all {cores} cores, so samples must cost less: keep images "
        f"decoded (cache: disk), normalise on the device, or draw fewer transforms."
    )
