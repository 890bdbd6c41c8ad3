"""Engine: the epoch and batch loop."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs, phase_metrics
from basetrainer._monitor import Best, best_of
from basetrainer.data.ranks import shard_loader, shard_test_sets
from basetrainer.data.resume import close_workers
from basetrainer.distributed.replicas import check_alike, check_frozen
from basetrainer.engine import checks
from basetrainer.engine.base import Base
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.evaluation import Evaluation
from basetrainer.engine.failures.failure import telling_failures
from basetrainer.engine.progress.clock import Clock
from basetrainer.engine.resume.checkpointer import Checkpointer, run_folder
from basetrainer.engine.resume.restored import Restored
from basetrainer.engine.resume.signals import PREEMPT, STOP
from basetrainer.engine.resume.state import check_state
from basetrainer.engine.train_batches import TrainBatches
from basetrainer.engine.training_data import TrainingData
from basetrainer.errors import ConfigError
from basetrainer.utils.torch_tools import deterministic_algorithms

logger = logging.getLogger(__name__)


class Engine(Evaluation):
    """The epoch and batch loop; hears every hook first and passes it on to its callbacks.

    Args:
        cfg: An EasyDict, Namespace, dict, or any object with attributes; the keys that the
            engine reads are those of :class:`~basetrainer.engine.config.EngineConfig`.

    Attributes:
        cfg: What was given.
        num_epochs: Epochs to train.
        start_epoch: The first epoch that ``run`` trains, if that is beyond ``position``.
        epoch: The running epoch, from 0.
        position: Finished epochs, batches of the running one, updates taken.
        callbacks: Who hears the hooks, in this order.
        model: With ``optimizer``, ``criterion`` and ``train_loader`` what the loop works with.
        test_loader: Likewise; several of them, by name, are scored apart.
        test_set: The name of the test set that is being evaluated; "" if there is but one.
        test_step: The test batch that is, or was last, evaluated, from 0.
        device: Where batches are moved to.
        progress: Whether to show progress bars; lines are shown in any case.
        max_batches: Batches at most of each epoch of training and of each test set, to try a
            trainer out; None takes all. The learning rate is that of whole epochs.
        observer: What the batches of a phase, ``train`` or ``test``, go through on their way out of
            :meth:`batches`: a generator function of the batches and the phase; None is nothing.
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
        self.start_epoch = 0
        self._restored: Restored | None = None
        self.training_data = TrainingData(self.config.steps_per_epoch)
        self.run_clock = Clock()
        self._is_running = False

    def to(self, device: torch.device | str) -> None:
        """Choose where batches are moved to; the model is not touched."""
        self.device = torch.device(device)

    def run(self, logs: Logs | None = None) -> Logs:
        """Train from ``position`` to ``num_epochs`` and return ``logs``.

        Args:
            logs: The dict that goes through every hook; a new one by default, or that of the last
                run if there is nothing to train.
        """
        if logs is None:
            logs = self._logs if self.position.epoch >= self.num_epochs else {}
        self._logs = logs
        self.requests.withdraw()
        with telling_failures(self, logs), ExitStack() as stack:
            stack.callback(self._tidy_up)
            self._get_ready()
            stack.enter_context(deterministic_algorithms(self.config.deterministic))
            if self.checkpointer is not None:
                # Signals are its own while it is on duty, and nobody's afterwards.
                stack.callback(setattr, self.requests, "outside", None)
                self.requests.outside = self.checkpointer.request
                self._restored = stack.enter_context(self.checkpointer.on_duty(logs))
            self._train(logs)
        return logs

    def run_epoch(self, epoch: int, logs: Logs) -> None:
        """Train for one epoch and evaluate; an epoch that was stopped is not evaluated."""
        self.epoch = epoch
        self._logs = self._screen.logs = logs
        self._gather_audience()
        logs.pop("test", None)  # an earlier score must never be taken for this epoch's
        logs.setdefault("lr", self.lr)  # before the figures
        phase_metrics(logs, "train")  # there for whichever callback comes first
        self.set_model(self.model)
        self.on_epoch_begin(epoch, logs)
        self._finish_restoring()
        data = self.training_data.epoch(self.train_loader, epoch, self.position)
        self._count_steps()
        check_frozen(self.model)
        if not self._train_on(data, logs, self.run_train_epoch):
            return
        # Before they are tested and saved.
        check_alike(self.model, self.optimizers, self.context, epoch_number(epoch))
        is_due = (epoch + 1) % self.config.test_every == 0 or epoch + 1 == self.num_epochs
        with self.run_clock.counting("test", self):
            self._evaluate(self.test_loader if is_due else None, logs)
        self.position.epoch = epoch
        self.position.end_epoch()
        self.run_clock.end_epoch(self)
        self._log_rates(logs)
        self.on_epoch_end(epoch, logs)
        request = self.requests.settle()
        if self.checkpointer is not None:
            is_last = request >= STOP or epoch + 1 == self.num_epochs
            self.checkpointer.after_epoch(request, is_last=is_last)

    def run_train_epoch(self, dataset: Iterable[Any], logs: Logs) -> None:
        """Train on every batch of ``dataset``.

        In a loop of your own take the batches from ``dataset``, as they are or through
        :meth:`batches`, ``enumerate`` and the like, and give each to :meth:`train_step`: counting,
        accumulation, the check for NaN, signals, saves and averages need no more. Call the hooks
        of a batch that your callbacks shall hear; ``self.position.step`` is its number.

        Args:
            dataset: The epoch's batches; see
                :class:`~basetrainer.engine.train_batches.TrainBatches`.
            logs: The run's logs.
        """
        if self._running is None:  # called by a run of the user's own
            self.position.step = self.position.skipped = 0
            self._logs = logs
            self._train_on(dataset, logs, functools.partial(Engine.run_train_epoch, self))
            return
        self.model.train()
        for inputs in self.batches(dataset, self._title("Train")):
            step = self.position.step
            self.on_batch_begin(step, logs)
            inputs = self.to_device(inputs)
            outputs, losses = self.train_step(inputs)
            self.on_train_summary(inputs, outputs, losses, self.epoch, step, logs)
            self.on_batch_end(step, logs)

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
    def best(self) -> Best | None:
        """The best evaluation so far and its weights, by what ModelCheckpoint monitors.

        Without one that has an indicator it is what EarlyStop monitors; None without either, and
        before the first evaluation.
        """
        return best_of(self.callbacks)

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
        self.on_train_begin(logs)  # where a callback may make what its state_dict() returns
        if self.checkpointer is not None:
            check_state(self)  # one that cannot be saved is refused now, not in an hour
        if self._restored is not None and not self._restored.is_within_epoch:
            self._finish_restoring()
        for epoch in range(self.position.epoch, self.num_epochs):
            if self.stop_reason is not None:
                break
            self.run_epoch(epoch, logs)
        if self.stop_reason is not None:
            logger.info("stopped: %s", self.stop_reason)
        self.on_train_end(logs)

    def _train_on(
        self, data: Iterable[Any], logs: Logs, train: Callable[[TrainBatches, Logs], None]
    ) -> bool:
        """Train on the epoch's batches; return whether the epoch goes on to its evaluation."""
        self._running = batches = TrainBatches(self, data)
        self._may_save = True
        try:
            with self._within("train"):
                train(batches, logs)
            batches.close()
        finally:
            self._running = None
            self._is_given = False
        self.check_finite()
        # Left early by the loop, the epoch could not be resumed behind its last batch.
        self._may_save = batches.is_counted and batches.is_whole
        # Asked in the very last step, the run ends with the epoch, which is whole.
        request = self.requests.settle()
        if request < STOP or batches.is_whole:
            return True
        if request >= PREEMPT:
            self._may_save = batches.is_counted
            self._answer(request)
        return False

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
                    f"at the end of __init__, and return it from build_{name}; without it there is "
                    f"no training, only test() and predict()."
                )
        self._is_running = True
        self._abandon_step()
        self._shard_loaders()
        self.run_clock, self.hook_seconds = Clock(), 0.0
        self.position.epoch = max(self.position.epoch, self.start_epoch)
        self.position.step = self.position.skipped = 0
        if self.config.resume != "never" and self.checkpointer is None:
            self.checkpointer = Checkpointer(self, run_folder(self))
        self._fillers = self.training_data.fillers(self.train_loader)
        self._nominal_count = float(getattr(self.train_loader, "batch_size", None) or 1)
        self._watch_optimizers()
        self._gather_audience()

    def _shard_loaders(self) -> None:
        """Let the loaders give each rank its part, or refuse them."""
        if self.context.world_size > 1 and self.config.strategy != "single":
            self.train_loader = shard_loader(self.train_loader, "train", self.context)
            self.test_loader = shard_test_sets(self.test_loader, self.context)

    def _count_steps(self) -> None:
        """Hear that the data of an epoch are placed: there may be more or fewer than before."""

    def _tidy_up(self) -> None:
        """Take the bar off the screen, end the loader workers, and let go of what is held."""
        self._screen.close()
        self._is_running = False
        self._restored = self._counted = None
        for loader in (self.train_loader, *named_test_sets(self.test_loader).values()):
            close_workers(loader)

    def _gather_audience(self) -> Any:
        for callback in self.callbacks:
            checks.refuse_torch_scheduler(callback)
            if not isinstance(callback, Base):
                raise ConfigError(
                    f"{callback!r} among the callbacks is no Callback. Derive its class from "
                    f"basetrainer.Callback."
                )
            callback.attach(self)
        return super()._gather_audience()
