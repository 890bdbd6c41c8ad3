"""Clock: where the time of a run goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from basetrainer.engine.progress.input_bound import StarvedStep

if TYPE_CHECKING:
    from basetrainer.engine.base import Base
    from basetrainer.engine.engine import Engine

PARTS: tuple[str, ...] = ("data", "step", "callbacks", "test", "checkpoints")
"""The parts of a run: waiting for the training loader; forward, backward and update, with all that
is in no other part; hooks of the callbacks; the evaluation with its data and hooks; saving."""


class Clock:
    """Seconds of a run by part, by the host's clock.

    What is measured needs no help of the loop: waits where the loader is asked for a batch, hooks
    where they are broadcast, the evaluation around it; the rest is the step's. A loop of the
    user's own is measured in the same way, as far as it uses ``batches`` and calls hooks.

    An epoch is counted from the end of training and evaluation of the one before, so that what is
    done at an epoch's end, such as saving, counts for the next one.

    Attributes:
        epoch: Seconds of each part of the last epoch.
        first_wait: Seconds until the first batch of the running epoch; workers start in them.
        num_batches: Training batches of the running epoch.
    """

    def __init__(self) -> None:
        self.epoch: dict[str, float] = {}
        self._finished = dict.fromkeys(PARTS, 0.0)
        self._starved = StarvedStep()
        self._start(perf_counter(), 0.0)

    def waits(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield the training batches, and count how long each lets the step wait."""
        running = self._running
        number = 0
        begin = perf_counter()
        try:
            for number, batch in enumerate(loader, 1):
                wait = perf_counter() - begin
                running["data"] += wait
                if number == 1:
                    self.first_wait = wait
                yield batch
                begin = perf_counter()
            running["data"] += perf_counter() - begin  # to learn that there is none left
        finally:
            self.num_batches += number

    @contextmanager
    def counting(self, part: str, engine: Base) -> Iterator[None]:
        """Count what is done inside, which is no hook, as ``part``; hooks fired inside too."""
        begin, hook_seconds = perf_counter(), engine.hook_seconds
        yield
        engine.hook_seconds = hook_seconds
        self._running[part] += perf_counter() - begin

    def count_in_hook(self, part: str, seconds: float) -> None:
        """Count seconds within a hook as another part than ``callbacks``."""
        self._running[part] += seconds
        self._hook_seconds += seconds

    def measure(self, engine: Base) -> dict[str, float]:
        """Return the seconds of each part since the last epoch's end."""
        parts = dict(self._running)
        parts["callbacks"] = max(engine.hook_seconds - self._hook_seconds, 0.0)
        parts["step"] = max(perf_counter() - self._begin - sum(parts.values()), 0.0)
        return parts

    def measure_run(self, engine: Base) -> dict[str, float]:
        """Return the seconds of each part since the run began."""
        running = self.measure(engine)
        return {part: self._finished[part] + running[part] for part in PARTS}

    def end_epoch(self, engine: Engine) -> None:
        """Settle :attr:`epoch`, and warn if the loader starved the step."""
        self.epoch = {part: round(one, 6) for part, one in self.measure(engine).items()}
        for part, seconds in self.epoch.items():
            self._finished[part] += seconds
        if engine.context.is_main:
            self._starved.look(engine, self)
        self._start(perf_counter(), engine.hook_seconds)

    def _start(self, now: float, hook_seconds: float) -> None:
        self._begin, self._hook_seconds = now, hook_seconds
        self._running = dict.fromkeys(PARTS, 0.0)
        self.first_wait = 0.0
        self.num_batches = 0


def told(seconds: Mapping[str, float]) -> str:
    """Return the shares that are no 0%, such as ``data 3%, step 84%, test 13%``."""
    total = sum(seconds.values()) or 1.0
    shares = {part: one / total for part, one in seconds.items()}
    return ", ".join(f"{part} {share:.0%}" for part, share in shares.items() if share >= 0.005)
