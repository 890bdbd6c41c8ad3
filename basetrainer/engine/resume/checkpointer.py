"""Checkpointer: when a run is saved, where it goes on, and how it answers signals."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer._monitor import Monitor, deciding_monitor
from basetrainer.checkpoint.manifest import Manifest
from basetrainer.checkpoint.run_folder import CHECKPOINTS, EXIT
from basetrainer.checkpoint.run_lock import RunLock
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.checkpoint.tree import is_finite, snapshot
from basetrainer.config.settings import get
from basetrainer.data.placed import EPOCH_START
from basetrainer.engine.eval_sets import has_figures
from basetrainer.engine.resume.changes import find_changes, warn_of_length
from basetrainer.engine.resume.origin import (
    Origin,
    find_origin,
    promise,
    run_fingerprint,
)
from basetrainer.engine.resume.restored import Restored
from basetrainer.engine.resume.run_parts import describe_parts
from basetrainer.engine.resume.signals import INTERRUPT, NOTHING, PREEMPT, SAVE, Signals
from basetrainer.engine.resume.state import collect
from basetrainer.errors import ConfigError, Preempted, StorageError, UsageError
from basetrainer.models.learned import learned_state
from basetrainer.models.structure import structure_of
from basetrainer.utils.file_utils import create_dir, remove_stale_temporaries

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)


_THAT_MOVE_ON = ("model", "criterion", "schedulers", "lengths")
"""Parts of a run whose description changes while it trains."""


class Checkpointer:
    """Makes a run that can be ended anywhere, by anything, and goes on.

    Args:
        engine: Whose run it is.
        folder: Of the run; checkpoints go to ``checkpoints/`` in it.

    Attributes:
        folder: Of the run.
        store: The checkpoints.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        config = engine.config
        self.folder = folder
        self.store = CheckpointStore(folder / CHECKPOINTS, config.keep_last, config.keep_best)
        self._owner = weakref.ref(engine)  # the engine holds this: no cycle keeps a model alive
        self._config = config
        self._signals = Signals()
        self._resumed_from: str | None = None
        self._parts: dict[str, Any] = {"config": {}}
        self._saves_within_epochs = True
        self._next_update: float = float("inf")
        self._next_time: float = float("inf")
        self._logs: Logs = {}

    @property
    def _engine(self) -> Engine:
        engine = self._owner()
        if engine is None:
            raise UsageError("The engine of this checkpointer is gone.")
        return engine

    @contextmanager
    def on_duty(self, logs: Logs) -> Iterator[Restored | None]:
        """Lock the folder, load the checkpoint to go on from, and listen to signals.

        Yields:
            What was loaded; None for a run that begins.
        """
        engine, self._logs = self._engine, logs
        lock = RunLock(self.folder)
        try:
            engine.context.on_main(lambda: self._prepare(lock))
            with self._signals:
                yield self._restore(logs)
                self.store.wait()
        finally:
            self._release(lock)

    def request(self) -> int:
        """Return what signals, or the clock, ask for; costs a look at the clock."""
        asked = self._signals.request
        if asked == NOTHING and time.monotonic() >= self._next_time:
            return SAVE
        return asked

    def after_update(self, request: int) -> None:
        """Save if it was asked for or is due; all ranks must agree on ``request``.

        Raises:
            Preempted: If a signal asked to end the run.
            KeyboardInterrupt: If somebody pressed Ctrl-C.
        """
        is_due = self._engine.position.update >= self._next_update
        if self._saves_within_epochs and (request > NOTHING or is_due):
            self.save()
        self.leave(request)

    def after_epoch(self, request: int, *, is_last: bool) -> None:
        """Save if it was asked for, is due, or nothing follows; then as :meth:`after_update`."""
        position = self._engine.position
        is_due = self.copies_at_end_of(position.epoch - 1) or position.update >= self._next_update
        if request > NOTHING or is_due or is_last:
            self.save(at_epoch_end=True)
        self.leave(request)

    def copies_at_end_of(self, epoch: int) -> bool:
        """Whether callbacks get their copy of the state when this epoch, from 0, is over."""
        every = self._config.save_every_epochs
        return every > 0 and (epoch + 1) % every == 0

    def save(self, *, at_epoch_end: bool = False) -> None:
        """Write a checkpoint; collective.

        Raises:
            NonFiniteError: If a loss was NaN and ``on_nonfinite`` is ``raise``; nothing is saved.
            StorageError: If it cannot be written.
        """
        self._engine.check_finite()
        with self._engine.run_clock.counting("checkpoints", self._engine):
            self._save(at_epoch_end)

    def _save(self, at_epoch_end: bool) -> None:
        """Write a checkpoint of weights that are known to be good."""
        engine = self._engine
        self._plan()
        tree = collect(engine, self._logs)
        if not engine.context.is_main:
            return
        if not is_finite(learned_state(engine.model, tree["model"])):
            logger.warning(
                "update %d is not saved: its weights are NaN or infinite. The checkpoints before "
                "it stay.",
                engine.position.update,
            )
            return
        figure, monitor = self._figure() if at_epoch_end else (None, None)
        manifest = Manifest(
            position=engine.position.state_dict(),
            files={},
            fingerprint=run_fingerprint(
                engine, {key: value for key, value in self._parts.items() if key != "config"}
            ),
            config=self._parts["config"],
            figure=figure,
            larger_is_better=monitor is None or monitor.mode == "max",
            metric=monitor.indicator if monitor is not None else "",
            structure=structure_of(engine.model),
            ended=engine.requests.stop_reason if engine.requests.stop_is_final else None,
            resumed_from=self._resumed_from,
        )
        in_background = self._config.async_save
        self.store.write(
            snapshot(tree) if in_background else tree,
            manifest,
            in_background=in_background,
            copies=self._copies() if at_epoch_end else (),
        )

    def leave(self, request: int) -> None:
        """End the run if a signal asked for it; what is to be saved was saved."""
        if request < PREEMPT:
            return
        self.store.wait()
        # Collective: nobody may be gone before the checkpoint is whole.
        self._engine.context.barrier()
        newest = self.store.newest()
        whence = f"{newest.name} in {self.store.folder}" if newest else "its beginning"
        if request == INTERRUPT:
            raise KeyboardInterrupt(f"the run goes on from {whence} when it is started again")
        name = self._signals.name or "a signal to another process"
        raise Preempted(f"{name}: the run goes on from {whence} when it is started again.")

    def _figure(self) -> tuple[float | None, Monitor | None]:
        """Return the figure that says which model is best, and whose it is."""
        monitor = deciding_monitor(self._engine.callbacks)
        if monitor is None or not has_figures(self._logs, self._engine.test_loader):
            return None, None
        return monitor.read(self._logs), monitor

    def _copies(self) -> list[Path]:
        """Return the files that callbacks want to be a copy of the state, each once."""
        wanted = (getattr(one, "state_copy", None) for one in self._engine.callbacks)
        return list(dict.fromkeys(path for path in wanted if path is not None))

    def _prepare(self, lock: RunLock) -> None:
        create_dir(self.folder)
        lock.acquire()
        (self.folder / EXIT).unlink(missing_ok=True)
        self.store.clean()
        for folder in self.folder.iterdir():
            if folder.is_dir():
                remove_stale_temporaries(folder)

    def _release(self, lock: RunLock) -> None:
        try:
            self.store.wait()
        except StorageError as error:  # raised before already, or behind another error
            logger.error("%s", error)  # noqa: TRY400 # the message says it all
        if self._engine.context.is_main:
            lock.release()

    def _restore(self, logs: Logs) -> Restored | None:
        engine = self._engine
        resume = engine.config.resume
        origin = engine.context.on_main(lambda: find_origin(resume, self.store, self.folder))
        self._resumed_from = None if resume == "auto" else resume
        before, self._parts = self._parts, describe_parts(engine)
        # Run again in the same process they have moved on; how they began is what counts.
        self._parts |= {key: before[key] for key in _THAT_MOVE_ON if key in before}
        level = promise(engine, origin)
        # Where the middle of an epoch cannot be found again, it is not worth a checkpoint.
        self._saves_within_epochs = not level.startswith(EPOCH_START)
        restored = None if origin is None else self._load(origin, logs)
        self._plan()
        logger.info("resume: %s; checkpoints in %s", level, self.store.folder)
        return restored

    def _load(self, origin: Origin, logs: Logs) -> Restored:
        engine = self._engine
        changes = find_changes(origin, engine, self._parts)
        tree: Any = self.store.load(origin.path)
        restored = Restored(tree, engine, str(origin.path))
        is_other = changes.report(origin)
        restored.apply(
            logs,
            keeps_options=not is_other,
            is_same_optimizer=changes.is_same_optimizer,
        )
        warn_of_length(changes, engine, restored.lr)
        position = engine.position
        ended, then = origin.manifest.ended, origin.manifest.config.get("num_epochs")
        if not origin.is_own:
            engine.context.on_main(lambda: self.store.abandon_after(position.update))
        elif ended is not None and engine.num_epochs <= (then or engine.num_epochs):
            engine.stop(f"the run had ended already: {ended}. Raise num_epochs to go on")
        logger.info(
            "resume: from %s: epoch %d, batch %d, update %d",
            origin.path,
            epoch_number(position.epoch),
            position.step,
            position.update,
        )
        return restored

    def _plan(self) -> None:
        """Decide when the next save within an epoch is due."""
        updates, minutes = self._config.save_every_updates, self._config.save_every_minutes
        done = self._engine.position.update
        if updates is not None:
            self._next_update = (done // updates + 1) * updates
        if minutes is not None:
            self._next_time = time.monotonic() + 60.0 * minutes


def run_folder(engine: Engine) -> Path:
    """Return the folder of the run: that of ModelCheckpoint's, or else ``cfg.work_dir``.

    Raises:
        ConfigError: If neither says where it is.
    """
    for callback in engine.callbacks:
        model_dir = getattr(callback, "model_dir", None)
        if model_dir is not None:
            return Path(model_dir).parent
    work_dir = get(engine.cfg, "work_dir")
    if not work_dir:
        raise ConfigError(
            f"resume: {engine.config.resume!r} needs a folder for the checkpoints. Set work_dir, "
            f"or add a ModelCheckpoint: they go beside its folder."
        )
    return Path(work_dir)
