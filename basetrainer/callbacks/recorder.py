"""Recorder: figures of a phase, tallied batch by batch and written into ``logs`` when read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from basetrainer._logs import Logs, Metrics, Phase, phase_metrics
from basetrainer.callbacks.callbacks import Callback
from basetrainer.data.loader import is_dealt
from basetrainer.distributed.context import DistContext
from basetrainer.utils.torch_tools import batch_size


class Tally(ABC):
    """What one recorder has counted in one phase; reads nothing on the host while it adds."""

    is_empty = True

    weighs = True
    """Whether :meth:`add` wants to know over how many things the losses were averaged."""

    @abstractmethod
    def add(self, inputs: Any, outputs: Any, losses: Any, count: float | Tensor) -> None:
        """Take in one batch, whose losses were averaged over ``count`` things."""

    @abstractmethod
    def reduce(self, context: DistContext) -> None:
        """Take in what the other ranks counted; collective, also on a rank that is empty."""

    @abstractmethod
    def take_in(self, other: Tally) -> None:
        """Add what another tally of this kind has counted."""

    @abstractmethod
    def figures(self) -> Metrics:
        """Return the figures, up to date; nothing if nothing was counted."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what was counted so far, settled: tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""

    def recent(self) -> Metrics:
        """Return the figures of what was added since the last call; by default of everything."""
        return self.figures()

    def write(self, metrics: Metrics) -> None:
        """Write the figures into ``metrics``."""
        metrics.update(self.figures())


class Recorder(Callback, ABC):
    """A callback that tallies each phase anew and writes figures into ``logs[phase]``.

    Inside an epoch train figures are those of this process. They are reduced over the ranks when
    the epoch's training is over, test figures when the evaluation is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tallies: dict[Phase, Tally] = {}

    @abstractmethod
    def new_tally(self) -> Tally:
        """Return an empty tally for the phase that begins."""

    @property
    def skips_nonfinite(self) -> bool:
        """Whether updates with NaN losses are left out of the run, and so of its figures."""
        return self.engine is not None and self.engine.config.on_nonfinite == "skip"

    def recent(self) -> Metrics:
        """Return the training figures of the steps since the last call, on this process.

        Between two log points they are what a curve over the steps shows; those in ``logs`` are of
        the whole epoch so far. Within an epoch only: after it there are none.
        """
        tally = self._tallies.get("train")
        return {} if tally is None or tally.is_empty else tally.recent()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Forget the last epoch's training."""
        self._start("train", logs)

    def on_train_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        step: int,
        logs: Logs | None = None,
    ) -> None:
        """Take in a training batch."""
        self._add("train", inputs, outputs, losses, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Settle the training figures, and start the test ones."""
        self._finish("train", logs, sums_ranks=True)
        self._start("test", logs)

    def on_test_summary(
        self,
        inputs: Any,
        outputs: Any,
        losses: Any,
        epoch: int,
        batch: int,
        logs: Logs | None = None,
    ) -> None:
        """Take in a test batch."""
        self._add("test", inputs, outputs, losses, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Settle the test figures."""
        engine = self.engine
        loader = None
        if engine is not None:
            several = isinstance(engine.test_loader, Mapping)
            loader = engine.test_loader.get(engine.test_set) if several else engine.test_loader
        self._finish("test", logs, sums_ranks=is_dealt(loader))

    def state_dict(self) -> dict[str, Any]:
        """Return what this process counted in the epoch's training so far."""
        # A test that is cut short is done again from its beginning.
        tally = self._tallies.get("train")
        return {} if tally is None or tally.is_empty else {"train": tally.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._tallies.clear()
        if "train" in state:
            self._tallies["train"] = self.new_tally()
            self._tallies["train"].load_state_dict(state["train"])

    def state_for(self, rank: int, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Let rank 0 have what all processes counted, and the others nothing."""
        whole = self.new_tally()
        counted = [state["train"] for state in states if "train" in state]
        for state in counted if rank == 0 else ():
            part = self.new_tally()
            part.load_state_dict(state)
            whole.take_in(part)
        rest = {key: value for key, value in states[0].items() if key != "train"}
        return {**rest, "train": whole.state_dict()} if counted and rank == 0 else rest

    def _start(self, phase: Phase, logs: Logs | None) -> None:
        old = self._tallies.pop(phase, None)
        if old is not None and not old.is_empty:
            phase_metrics(logs, phase).remove_source(old.write)
        self._tallies[phase] = self.new_tally()

    def _add(self, phase: Phase, inputs: Any, outputs: Any, losses: Any, logs: Logs | None) -> None:
        tally = self._tallies.get(phase)
        if tally is None:  # a loop of the user's own, without on_epoch_begin
            tally = self._tallies[phase] = self.new_tally()
        engine = self.engine
        if phase == "train" and engine is not None and engine.fills_in:
            return
        count: float | Tensor = 1.0
        if tally.weighs:
            if engine is None:
                count = batch_size(inputs)
            else:
                count = engine.count_of(inputs, outputs, losses)
        tally.add(inputs, outputs, losses, count)
        if tally.is_empty:
            tally.is_empty = False
            phase_metrics(logs, phase).add_source(tally.write)

    def _finish(self, phase: Phase, logs: Logs | None, *, sums_ranks: bool) -> Metrics:
        """Write the phase's last figures and return them."""
        tally = self._tallies.pop(phase, None)
        if tally is None:
            return {}
        if not tally.is_empty:
            phase_metrics(logs, phase).remove_source(tally.write)
        engine = self.engine
        if sums_ranks and engine is not None and engine.context.world_size > 1:
            tally.reduce(engine.context)  # Collective: every rank must get here.
        figures = tally.figures()
        if figures:
            phase_metrics(logs, phase).update(figures)
        return figures
