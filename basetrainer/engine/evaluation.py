"""Evaluation: test sets are scored, each between two hooks, with the weights that are tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs, Phase, SetLogs, phase_metrics
from basetrainer.distributed.strategy import evaluating
from basetrainer.engine.base import Base
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.first_batches import FirstBatches
from basetrainer.engine.progress.progress import Progress
from basetrainer.engine.resume.checkpointer import Checkpointer
from basetrainer.engine.resume.requests import Requests
from basetrainer.engine.resume.signals import NOTHING, PREEMPT
from basetrainer.engine.step import Step
from basetrainer.engine.train_batches import TrainBatches
from basetrainer.utils.torch_tools import evaluation_mode

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine


class Evaluation(Step):
    """What an engine needs to score its test sets, and to leave when it is asked to meanwhile.

    Args:
        cfg: See :class:`~basetrainer.engine.engine.Engine`.
    """

    def __init__(self, cfg: Any = None) -> None:
        super().__init__(cfg)
        self.num_epochs = self.config.num_epochs
        self.callbacks: list[Base] = []
        self.train_loader: Any = None
        self.test_loader: Any = None
        self.test_set, self.test_step = "", 0
        self.progress = self.config.progress
        self.max_batches: int | None = None
        self.observer: Callable[[Iterable[Any], Phase], Iterable[Any]] | None = None
        self.requests = Requests(self.context)
        self.checkpointer: Checkpointer | None = None
        self.test_weights: Callable[[], AbstractContextManager[None]] = nullcontext
        self._running: TrainBatches | None = None  # of the epoch that is trained
        self._may_save = True  # whether the position tells what was trained
        self._phase: Phase | None = None  # that is running
        self._screen = Progress()

    @property
    def listeners(self) -> Sequence[Base]:
        """The callbacks."""
        return self.callbacks

    def run_test_epoch(self, dataset: Iterable[Any] | None, logs: Logs) -> None:
        """Evaluate on every batch of ``dataset``; None is no batch."""
        if dataset is None:
            return
        phase_metrics(logs, "test")  # there for whichever callback comes first
        self.model.eval()
        for step, inputs in enumerate(self.batches(dataset, self._title("Test "))):
            self.test_step = step
            inputs = self.to_device(inputs)
            with self.without_gradients():  # not around the loader: its data may serve training too
                with self.precision():
                    outputs, losses = self.run_step(inputs)
                self.on_test_summary(inputs, outputs, losses, self.epoch, step, logs)
            if self.checkpointer is not None and self.requests.is_called_away():
                break

    def batches(self, loader: Iterable[Any], title: str) -> Iterable[Any]:
        """Return the loader's batches; the main process shows how far it is.

        Figures and times are those of the phase that is running.

        Args:
            loader: Any iterable.
            title: What stands before the bar.
        """
        if self._phase == "train" and self._running is not None and loader is self.train_loader:
            loader = self._running
        if self.context.is_main:
            loader = self._screen.watch(loader, title, cast("Engine", self), self._phase)
        if self.observer is not None and self._phase is not None:
            loader = self.observer(loader, self._phase)
        return loader

    def _answer(self, request: int) -> None:
        """Save if it is due or asked for, and leave if that is; a checkpointer is there."""
        if self.checkpointer is None:
            return
        running = self._running
        if self._may_save and (running is None or running.is_counted):
            self.checkpointer.after_update(request)
        else:
            self.checkpointer.leave(request)

    def _train_elsewhere(self) -> None:
        if self._running is not None:
            self._running.note_training_elsewhere()

    def _evaluate(self, loader: Any, logs: Logs, *, with_averages: bool = True) -> None:
        """Evaluate each test set between the two hooks, with the weights that are tested."""
        self._screen.logs = logs
        self._counted = None
        weights = self.test_weights() if with_averages else nullcontext()
        criterion = self.criterion
        mode = evaluation_mode(criterion) if isinstance(criterion, nn.Module) else nullcontext()
        found, request = SetLogs(), NOTHING
        with weights, mode, evaluating(self.model), self._within("test"):
            for self.test_set, one in named_test_sets(loader).items():
                self.on_test_begin(logs)
                if one is not None and self.max_batches is not None:
                    one = FirstBatches(one, self.max_batches)
                self.run_test_epoch(one, logs)
                request = NOTHING if self.checkpointer is None else self.requests.settle()
                if request >= PREEMPT:
                    break
                self.on_test_end(logs)
                if self.test_set:  # a set's hooks see logs["test"] as if it were the only one
                    found[self.test_set] = logs.pop("test", {})
        if request >= PREEMPT and self.checkpointer is not None:
            logs.pop("test", None)  # of half a test; it is done again
            self._answer(request)
        if found:
            logs["test"] = found

    @contextmanager
    def _within(self, phase: Phase | None) -> Iterator[None]:
        before, self._phase = self._phase, phase
        try:
            yield
        finally:
            self._phase = before

    def _title(self, phase: str) -> str:
        test_set = f" {self.test_set}" if self.test_set and phase != "Train" else ""
        return f"{phase} Epoch #{epoch_number(self.epoch)}{test_set}"
