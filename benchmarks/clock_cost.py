"""What measuring where the time goes costs per step.

    python -m benchmarks.clock_cost

A step has one wait for a batch and, with recorders and a schedule, two hooks that somebody hears.
Each is timed with and without the clock, beside a plain step of a 32-32-10 network with batches of
32. Figures are the least CPU time of many rounds: what else the machine does only ever adds to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from basetrainer.engine.base import Base
from basetrainer.engine.progress.clock import Clock

ROUNDS, STEPS = 50, 10_000
BATCHES: list[Any] = [None] * STEPS
HEARD_HOOKS = 2


class Listener(Base):
    """Hears one hook."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Do nothing."""


class Clocked(Base):
    """Broadcasts as an engine does."""

    listeners = (Listener(),)


class Plain(Clocked):
    """The same without stamps."""

    def on_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Broadcast as before there was a clock."""
        listeners: Sequence[Base] = self.listeners
        if not listeners:
            return
        audience = self.__dict__.get("_audience")
        if audience is None or audience.listeners != listeners:
            audience = self._gather_audience()
        for call in audience.calls["on_batch_end"]:
            call(*args, **kwargs)


def microseconds(work: Callable[[], None], steps: int = STEPS) -> float:
    """Return the least CPU time of a step of ``work``."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return 1e6 * min(times) / steps


def take(batches: Iterable[Any]) -> None:
    """Take every batch."""
    for _ in batches:
        pass


def fire(engine: Base) -> None:
    """Fire a hook for every batch."""
    for _ in BATCHES:
        engine.on_batch_end(0, None)


def train(steps: int) -> Callable[[], None]:
    """Return a plain training of ``steps`` steps."""
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    images, labels = torch.randn(32, 32), torch.randint(10, (32,))

    def work() -> None:
        for _ in range(steps):
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


def main() -> None:
    """Print the cost of each stamp, and of a step."""
    torch.set_num_threads(1)
    clock = Clock()
    wait = microseconds(lambda: take(clock.waits(BATCHES))) - microseconds(lambda: take(BATCHES))
    hook = microseconds(lambda: fire(Clocked())) - microseconds(lambda: fire(Plain()))
    step = microseconds(train(200), 200)
    cost = wait + HEARD_HOOKS * hook
    print(f"a wait {wait:.2f} us, a hook {hook:.2f} us: {cost:.2f} us a step")
    print(f"a plain step of the tiny network takes {step:.0f} us, so that is {cost / step:.1%}")


if __name__ == "__main__":
    main()
