"""Engine: the epoch and batch loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch

from basetrainer._logs import Logs, SetLogs
from basetrainer.data.loader import look_ahead
from basetrainer.data.placed import length
from basetrainer.data.resume import close_workers
from basetrainer.distributed.strategy import evaluating
from basetrainer.engine.base import Base
from basetrainer.engine.checkpointer import Checkpointer, run_folder
from basetrainer.engine.clock import Clock
from basetrainer.engine.failure import telling_failures
from basetrainer.engine.progress import Progress
from basetrainer.engine.requests import Requests
from basetrainer.engine.restored import Restored
from basetrainer.engine.signals import NOTHING, PREEMPT, STOP
from basetrainer.engine.step import Step
from basetrainer.engine.test_sets import named_test_sets
from basetrainer.engine.training_data import TrainingData
from basetrainer.errors import ConfigError
from basetrainer.utils.torch_tools import deterministic_algorithms

logger = logging.getLogger(__name__)


class Engine(Step):
    """The epoch and batch loop; hears every hook first and passes it on to its callbacks.

    Args:
        cfg: An EasyDict, Namespace, dict, or any object with attributes; the keys that the
            engine reads are those of :class:`~basetrainer.engine.config.EngineConfig`.

    Attributes:
        cfg: What was given.
        num_epochs: Epochs to train.
        start_epoch: The first epoch that ``run`` trains, if that is beyond ``position``.
        epoch: The running epoch, from 0.
        position: Finished epochs, batches of the running one, optimizer steps.
        callbacks: Who hears the hooks, in this order.
        model: With ``optimizer``, ``criterion`` and ``train_loader`` what the loop works with.
        test_loader: Likewise; several of them, by name, are scored apart.
        test_set: The name of the test set that is being evaluated; "" if there is but one.
        test_step: The test batch that is, or was last, evaluated, from 0.
        device: Where batches are moved to.
        progress: Whether to show progress bars; lines are shown in any case.
        requests: Who asked the run to stop, and why.
        training_data: Where in ``train_loader`` the run is.
        checkpointer: Saves the run, so that it can go on; None if ``resume`` is ``never``.
        run_clock: Where the time goes.
        test_weights: Makes the context in which weights are tested and saved; a callback that
            averages weights sets it.

    Raises:
        ConfigError: If a setting of the engine is wrong.
    """

    def __init__(self, cfg: Any = None) -> None:
        super().__init__(cfg)
        self.num_epochs = self.config.num_epochs
        self.start_epoch = 0
        self.callbacks: list[Base] = []
        self.train_loader: Any = None
        self.test_loader: Any = None
        self.test_set, self.test_step = "", 0
        self.progress = self.config.progress
        self.requests = Requests(self.context)
        self.checkpointer: Checkpointer | None = None
        self.test_weights: Callable[[], AbstractContextManager[None]] = nullcontext
        self._restored: Restored | None = None
        self.training_data = TrainingData(self.config.steps_per_epoch)
        self._screen = Progress()
        self.run_clock = Clock()

    @property
    def listeners(self) -> Sequence[Base]:
        """The callbacks."""
        return self.callbacks

    def to(self, device: torch.device | str) -> None:
        """Choose where batches are moved to; the model is not touched."""
        self.device = torch.device(device)

    def run(self, logs: Logs | None = None) -> Logs:
        """Train from ``position`` to ``num_epochs`` and return ``logs``.

        Args:
            logs: The dict that goes through every hook; a new one by default.
        """
        logs = {} if logs is None else logs
        self.requests.withdraw()
        with telling_failures(self, logs), ExitStack() as stack:
            stack.callback(self._tidy_up)
            self._get_ready()
            stack.enter_context(deterministic_algorithms(self.config.deterministic))
            if self.checkpointer is not None:
                self._restored = stack.enter_context(self.checkpointer.on_duty(logs))
            self._train(logs)
        return logs

    def run_epoch(self, epoch: int, logs: Logs) -> None:
        """Train for one epoch and evaluate; an epoch that was stopped is not evaluated."""
        self.epoch = epoch
        self._screen.logs = logs
        self._gather_audience()
        logs.pop("test", None)  # an earlier score must never be taken for this epoch's
        self.set_model(self.model)
        self.on_epoch_begin(epoch, logs)
        self._finish_restoring()
        dataset = self.training_data.epoch(self.train_loader, epoch, self.position)
        self.run_train_epoch(dataset, logs)
        # Asked in the very last step, the run ends with the epoch, which is whole.
        if self.requests.settle() >= STOP and self.position.step != length(dataset):
            return
        is_due = (epoch + 1) % self.config.test_every == 0 or epoch + 1 == self.num_epochs
        with self.run_clock.counting("test", self):
            self._evaluate(self.test_loader if is_due else None, logs)
        self.position.epoch, self.position.step = epoch + 1, 0
        self.run_clock.end_epoch(self)
        self.on_epoch_end(epoch, logs)
        request = self.requests.settle()
        if self.checkpointer is not None:
            is_last = request >= STOP or epoch + 1 == self.num_epochs
            self.checkpointer.after_epoch(request, is_last=is_last)

    def run_train_epoch(self, dataset: Iterable[Any], logs: Logs) -> None:
        """Train on every batch of ``dataset``."""
        self.model.train()
        batches = self._windows(self.batches(dataset, self._title("Train")))
        for step, inputs in enumerate(batches, start=self.position.step):
            self.position.step = step
            self.on_batch_begin(step, logs)
            self.inputs = inputs = self.to_device(inputs)
            outputs, losses = self.train_step(inputs)
            self.position.update += self._window_ends
            logs["lr"] = self.lr
            self.on_train_summary(inputs, outputs, losses, self.epoch, step, logs)
            if self._is_log_point(step):
                self.check_finite()
            self.on_batch_end(step, logs)
            self.position.step = step + 1
            if self._window_ends and self._is_cut_short():
                break
        if not self.position.step:
            raise ConfigError(
                f"Epoch {self.epoch} had no training batch. Is the training set empty, or smaller "
                f"than one batch with drop_last?"
            )
        self.check_finite()

    def run_test_epoch(self, dataset: Iterable[Any] | None, logs: Logs) -> None:
        """Evaluate on every batch of ``dataset``; None is no batch."""
        if dataset is None:
            return
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
        """Return the loader's batches; the main process shows how far it is."""
        return self._screen.watch(loader, title, self) if self.context.is_main else loader

    def stop(self, reason: str, *, is_final: bool = True) -> None:
        """End the run cleanly at the next step; any callback on any rank may ask.

        Within an epoch the run ends after the current update, without an evaluation; asked at an
        epoch's end or in the evaluation, it ends with that epoch.

        Args:
            reason: Why, for the log.
            is_final: Whether the run is done; otherwise it goes on when it is started again
                (with ``resume: auto``).
        """
        self.requests.stop(reason, is_final)

    @property
    def stop_reason(self) -> str | None:
        """Why the run ended early; None if it did not."""
        return self.requests.stop_reason

    def _train(self, logs: Logs) -> None:
        """Train the epochs that are to come, between the two hooks of the whole run."""
        if self.position.epoch >= self.num_epochs:
            logger.warning(
                "nothing to train: %d of %d epochs are done. Raise num_epochs to go on.",
                self.position.epoch,
                self.num_epochs,
            )
        self.on_train_begin(logs)
        if self._restored is not None and not self._restored.is_within_epoch:
            self._finish_restoring()
        for epoch in range(self.position.epoch, self.num_epochs):
            if self.stop_reason is None:
                self.run_epoch(epoch, logs)
        if self.stop_reason is not None:
            logger.info("stopped: %s", self.stop_reason)
        self.on_train_end(logs)

    def _finish_restoring(self) -> None:
        """In a run that goes on: load what has to come right before the first step."""
        restored, self._restored = self._restored, None
        if restored is not None:
            restored.finish()

    def _get_ready(self) -> None:
        """Refuse what cannot run, before anything expensive starts."""
        for name in ("model", "train_loader"):
            if getattr(self, name) is None:
                raise ConfigError(
                    f"{type(self).__name__}.{name} is None when run() starts. Call self.build(cfg) "
                    f"at the end of __init__, and return it from build_{name}."
                )
        self._abandon_step()
        self.run_clock, self.hook_seconds = Clock(), 0.0
        self.position.epoch, self.position.step = max(self.position.epoch, self.start_epoch), 0
        if self.config.resume != "never" and self.checkpointer is None:
            self.checkpointer = Checkpointer(self, run_folder(self))
            self.requests.outside = self.checkpointer.request
        self._fillers = self.training_data.fillers(self.train_loader)
        self._nominal_count = float(getattr(self.train_loader, "batch_size", None) or 1)
        self._gather_audience()

    def _tidy_up(self) -> None:
        """Take the bar off the screen, and end the loader workers."""
        self._screen.close()
        for loader in (self.train_loader, *named_test_sets(self.test_loader or None).values()):
            close_workers(loader)

    def _gather_audience(self) -> Any:
        for callback in self.callbacks:
            if not isinstance(callback, Base):
                raise ConfigError(
                    f"{callback!r} among the callbacks is no Callback. Derive its class from "
                    f"basetrainer.Callback."
                )
            callback.attach(self)
        return super()._gather_audience()

    def _windows(self, batches: Iterable[Any]) -> Iterable[Any]:
        """Return the batches, marking those that an optimizer step follows.

        A window of accumulation never spans two epochs: the last one may be smaller.
        """
        return batches if self.accumulate_steps == 1 else self._marked_windows(batches)

    def _marked_windows(self, batches: Iterable[Any]) -> Iterator[Any]:
        first = self.position.step + 1
        for number, (batch, is_last) in enumerate(look_ahead(batches), start=first):
            self._window_ends = is_last or number % self.accumulate_steps == 0
            yield batch

    def _evaluate(self, loader: Any, logs: Logs, *, with_averages: bool = True) -> None:
        """Evaluate each test set between the two hooks, with the weights that are tested."""
        self._screen.logs = logs
        weights = self.test_weights() if with_averages else nullcontext()
        found, request = SetLogs(), NOTHING
        with weights, evaluating(self.model):
            for self.test_set, one in named_test_sets(loader).items():
                self.on_test_begin(logs)
                self.run_test_epoch(one, logs)
                request = NOTHING if self.checkpointer is None else self.requests.settle()
                if request >= PREEMPT:
                    break
                self.on_test_end(logs)
                if self.test_set:  # a set's hooks see logs["test"] as if it were the only one
                    found[self.test_set] = logs.pop("test", {})
        if request >= PREEMPT and self.checkpointer is not None:
            logs.pop("test", None)  # of half a test; it is done again
            self.checkpointer.after_update(request)
        if found:
            logs["test"] = found

    def _is_log_point(self, step: int) -> bool:
        frequency = self.config.log_freq
        return frequency > 0 and (step + 1) % frequency == 0

    def _is_cut_short(self) -> bool:
        """Between two updates: save if it is due, and tell whether the epoch ends here."""
        request = self.requests.poll()
        if self.checkpointer is not None:
            self.checkpointer.after_update(request)
        return request >= STOP

    def _title(self, phase: str) -> str:
        is_one_of_several = self.test_set and phase != "Train"
        return f"{phase} Epoch #{self.epoch}{f' {self.test_set}' if is_one_of_several else ''}"
