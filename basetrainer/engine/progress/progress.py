"""Progress: how far a pass over a loader is, as a bar or as lines, drawn by the clock."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from basetrainer._logs import Logs, Phase
from basetrainer._metrics import flat_numbers, total_of
from basetrainer._monitor import deciding_monitor
from basetrainer.data.placed import length
from basetrainer.engine.progress.bar import Bar, Reading, can_draw
from basetrainer.utils.torch_tools import batch_size

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_DRAWS = 1.0
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows figures, speed and remaining time of the passes of one run.

    On a terminal and in a notebook it is a bar, redrawn at most once a second; elsewhere, and
    with ``progress: False``, a line of the log every ten seconds. Between two of them a step costs
    one look at the clock: nothing is formatted and no tensor is read.

    Args:
        clock: Returns seconds.

    Attributes:
        logs: Where the figures are; the engine sets it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.logs: Logs | None = None
        self._clock = clock
        self._bar: Bar | None = None
        self._next_draw = -math.inf
        self._epoch = -1
        self._epoch_begin = 0.0
        self._epoch_seconds: float | None = None  # of the last whole epoch, evaluation included

    def watch(
        self, loader: Iterable[Any], title: str, engine: Engine, phase: Phase | None
    ) -> Iterator[Any]:
        """Yield the loader's batches and show how far it is.

        Args:
            loader: Any iterable; without a length there is no remaining time.
            title: What stands before the bar.
            engine: Who trains.
            phase: Whose figures and times these are; None shows none.
        """
        clock = self._clock
        begin = clock()
        # A run that goes on in the middle of an epoch has some of its batches behind it.
        done = engine.position.step if phase == "train" else 0
        if phase == "train":
            self._note_epoch(-1 if done else engine.epoch, begin)
        shown = _Pass(title, length(loader), begin, engine, done, phase)
        has_bar = engine.progress and can_draw()
        due = self._next_draw if has_bar else begin + SECONDS_BETWEEN_LINES
        try:
            if has_bar and begin >= due:  # visible while the first batch is being loaded
                due = self._draw(shown, begin)
            for number, batch in enumerate(loader, done + 1):
                yield batch
                now = clock()
                if now >= due:
                    shown.advance(number, batch, now)
                    due = self._draw(shown, now) if has_bar else self._say(shown, now)
        finally:
            self.close()

    def close(self) -> None:
        """Take the bar off the screen."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _note_epoch(self, epoch: int, now: float) -> None:
        """Measure whole epochs, from one training pass to the next; -1 is a part of one."""
        if epoch == self._epoch + 1 and self._epoch >= 0:
            self._epoch_seconds = now - self._epoch_begin
        self._epoch, self._epoch_begin = epoch, now

    def _draw(self, shown: _Pass, now: float) -> float:
        """Redraw the bar, and return when to do so next."""
        reading = shown.read(self.logs, self._epoch_seconds)
        if self._bar is None:
            self._bar = Bar(reading)
        else:
            self._bar.draw(reading)
        self._next_draw = now + SECONDS_BETWEEN_DRAWS
        return self._next_draw

    def _say(self, shown: _Pass, now: float) -> float:
        """Log a line, and return when to do so next."""
        reading = shown.read(self.logs, self._epoch_seconds)
        title = " ".join(reading.title.split())
        logger.info("%s: %s, %s", title, reading.count, ", ".join(reading.parts()))
        return now + SECONDS_BETWEEN_LINES


class _Pass:
    """How far one pass is, and how fast."""

    def __init__(
        self,
        title: str,
        total: int,
        now: float,
        engine: Engine,
        done: int,
        phase: Phase | None,
    ) -> None:
        self.title = title
        self.total = total
        self.number = done
        self._engine = engine
        self.phase = phase
        self._then = now
        self._rate = 0.0  # batches per second
        self._batch_size = 0

    def advance(self, number: int, batch: Any, now: float) -> None:
        """Take in that ``number`` batches are done."""
        rate = (number - self.number) / max(now - self._then, 1e-9)
        # The last few redraws count most: loaders warm up, and machines get busy.
        self._rate = 0.3 * rate + 0.7 * self._rate if self._rate else rate
        self.number, self._then = number, now
        self._batch_size = batch_size(batch, strict=False)

    def read(self, logs: Logs | None, epoch_seconds: float | None) -> Reading:
        """Return what is known: figures, remaining time, speed and lr."""
        samples = self._rate * self._batch_size * self._engine.context.world_size
        left, run = self._remaining(epoch_seconds) if self._rate and self.total else ("", "")
        return Reading(
            self.title,
            self.number,
            self.total,
            tuple(self._figures(logs)),
            left,
            run,
            f"{samples:.0f}" if self._rate else "",
            self._engine.lr if self.phase == "train" else None,
        )

    def _figures(self, logs: Logs | None) -> Iterator[str]:
        """Yield the loss and the main metric, as far as they are known."""
        if self.phase is None or not self.number:
            return
        metrics = (logs or {}).get(self.phase) or {}
        names = list(metrics)
        losses = [name for name in names if "loss" in name.lower()] or names
        main = _main_metric(self._engine)
        if main.partition("/")[0] == self._engine.test_set:
            main = main.partition("/")[2]
        others = [name for name in (main, *names) if name and name not in losses]
        for name in (*losses[:1], *others[:1]):
            value = total_of(name, metrics.get(name))
            if value is None:  # one class of a dict of metrics, or that of one test set
                parts = flat_numbers(metrics).items()
                value = next((one for key, one in parts if f"/{key}".endswith(f"/{name}")), None)
            if value is not None:
                yield f"{name} {value:.4g}"

    def _remaining(self, epoch_seconds: float | None) -> tuple[str, str]:
        """Return the remaining time of the pass and, while training, of the run."""
        seconds = max(self.total - self.number, 0) / self._rate
        if self.phase != "train":
            return duration(seconds), ""
        to_come = self._engine.num_epochs - self._engine.epoch - 1
        run = seconds + to_come * (epoch_seconds or self.total / self._rate)
        return duration(seconds), duration(run)


def duration(seconds: float) -> str:
    """Return ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _main_metric(engine: Engine) -> str:
    """Return the figure that decides which model is best, "" if none does."""
    monitor = deciding_monitor(engine.callbacks)
    return monitor.indicator if monitor is not None else ""
