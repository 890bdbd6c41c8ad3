"""ModelCheckpoint: which weights are written, which are the best, which are deleted."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from basetrainer._deprecated import renamed
from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer._monitor import Monitor, monitoring
from basetrainer.callbacks.callbacks import Callback, counts_as
from basetrainer.callbacks.weights.describe import describe
from basetrainer.callbacks.weights.model_optimizer import MODEL_OPTIMIZER, resume_model, write_state
from basetrainer.callbacks.weights.tested_state import are_weights_finite, tested_state
from basetrainer.callbacks.weights.weight_files import BEST, KEPT, LATEST, WeightFiles
from basetrainer.config.settings import get
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import is_sharded
from basetrainer.engine.base import Base, hears
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import create_dir
from basetrainer.utils.log import as_logger


class ModelCheckpoint(Callback):
    """Writes weights at the end of each epoch; comes last among the callbacks.

    - ``model_optimizer.pth``: ``{"epoch", "model", "optimizer"}`` of the last epoch (from 0).
    - ``latest_model_EEE_V.VVVV.pth``: the weights of the last epoch.
    - ``model_EEE_V.VVVV.pth``: those of the epochs that ``start_save`` asks for.
    - ``best_model_EEE_V.VVVV.pth``: those of the best epoch; ``weights.json`` beside it says how to
      use them (see :class:`~basetrainer.checkpoint.sidecar.Sidecar`).

    EEE is the epoch, V the value of the monitored metric (left out of the names if there is none).
    Each file is written whole or not at all, and no two share their bytes. With ``resume`` the
    first one is a copy of the state that the run would resume from. The others are plain state
    dicts of the user's model; with averaged weights (``ema_decay``) they hold those that were
    tested. Weights with NaN are written to none of them.

    The first one that monitors a metric decides for the whole run which epoch is the best:
    ``keep_best``, the star of ``LogHistory``, ``trainer.best``. Several may share a folder: each
    removes only what itself wrote, and ``weights.json`` describes the best model of the first.

    Args:
        model: May be wrapped; by default the engine's.
        optimizer: One, or a dict, list or tuple of several; by default the engine's.
        moder_dir: The old name of ``model_dir``; as the third argument it needs no name.
        epochs: Number of epochs of the run; by default (0) the engine's.
        start_save: From which epoch on every ``model_*`` stays; -1 keeps those of the last
            ``model_nums`` epochs, 0 writes nothing but the best model.
        best_save: From which epoch on the best model is looked for.
        indicator: Which metric of the logs is monitored; test metrics where there are any. "" looks
            for no best model. With several test sets the first one decides, or ``SET/METRIC``.
        inverse: The old way to say ``mode``: True is ``min``, False ``max``.
        logger: Where lines go; by default the module's own logger.
        model_nums: See ``start_save``.
        mode: Whether smaller (``min``) or larger (``max``) is better. By default the name of the
            metric says it (``min`` for losses, errors, distances, ...; see
            :func:`~basetrainer.utils.metric_mode.mode_of`), and ``max`` if it says nothing. One
            line in the log says which when the run starts.
        model_dir: In place of ``moder_dir``. By default the config's ``model_dir``, or the folder
            ``model`` in its ``work_dir``.

    Raises:
        ConfigError: If the folder cannot be written or ``mode`` is wrong; when the run starts, if
            there is no folder.
    """

    saves_best = True

    @renamed(moder_dir="model_dir=", inverse="mode='min' (smaller is better) or mode='max'")
    def __init__(
        self,
        model: nn.Module | None = None,
        optimizer: Any = None,
        moder_dir: str | os.PathLike[str] | None = None,
        epochs: int = 0,
        start_save: int | None = -1,
        best_save: int = -1,
        indicator: str = "",
        inverse: bool | None = None,
        logger: Any = None,
        model_nums: int = 10,
        *,
        mode: str | None = None,
        model_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.epochs = epochs
        self.start_save = -1 if start_save is None else start_save
        self.best_save = best_save
        self.model_nums = model_nums
        self.monitor = Monitor(indicator, mode, inverse=inverse)
        self.logger = as_logger(logger, __name__)
        self.model_dir: Path | None = None
        self.weight_files: WeightFiles | None = None
        folder = moder_dir if moder_dir is not None else model_dir
        if folder is not None:
            self._use(Path(folder))

    @property
    def indicator(self) -> str:
        """The monitored metric."""
        return self.monitor.indicator

    @property
    def best_model(self) -> Path | None:
        """The file of the best weights that this run wrote; None if none."""
        return self.weight_files.path_of(BEST) if self.weight_files is not None else None

    @property
    def state_copy(self) -> Path | None:
        """The file that becomes a copy of the checkpoint of an epoch's end; None if none does."""
        return self._files.folder / MODEL_OPTIMIZER if self.start_save != 0 else None

    def attach(self, engine: Engine) -> None:
        """Take from the engine what was not given."""
        super().attach(engine)
        self.monitor.know_sets(engine.test_loader)
        if self.model is None:
            self.model = engine.model
        if self.weight_files is None:
            folder, work_dir = get(engine.cfg, "model_dir"), get(engine.cfg, "work_dir")
            if folder or work_dir:
                self._use(Path(folder or Path(work_dir, "model")))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Say what is monitored; warn of callbacks whose work at an epoch's end comes too late."""
        if self.indicator and self.is_main_process:
            self.logger.info("monitoring %s", self.monitor)
        late = [
            type(one).__name__
            for one in self._callbacks[self._callbacks.index(self) + 1 :]
            if hears(one, "on_epoch_end") and not isinstance(one, ModelCheckpoint)
        ]
        if late and self.is_main_process:
            self.logger.warning(
                "ModelCheckpoint should be the last callback: what %s does at an epoch's end "
                "comes after the save",
                ", ".join(late),
            )

    @counts_as("checkpoints")
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write what is due."""
        value = self._read_value(logs)
        is_best = (
            value is not None
            and epoch >= self.best_save
            and self.monitor.is_better(value, self.monitor.best)
        )
        keeps_all = self.start_save != 0
        checkpointer = getattr(self.engine, "checkpointer", None)
        if keeps_all and (checkpointer is None or not checkpointer.copies_at_end_of(epoch)):
            self._save_optimizer(epoch)
        if not (keeps_all or is_best):
            return
        with tested_state(self.engine, self.model) as state:
            if not self._is_sound(state, epoch):
                return
            if is_best and value is not None:
                self.monitor.is_new_best(value, epoch)
            if self.is_main_process and keeps_all:
                others = self._files.of_others(self._callbacks)
                self._files.replace(LATEST, epoch, value, state, others)
                if epoch >= (self.start_save if self.start_save > 0 else self._first_kept):
                    self._files.write(KEPT, epoch, value, state)
            if self.is_main_process and is_best and value is not None:
                self._write_best(epoch, value, state)
            elif is_best:
                self._files.note(BEST, self._files.path(BEST, epoch, value))
        self._files.forget()

    @counts_as("checkpoints")
    def on_train_end(self, logs: Logs | None = None) -> None:
        """Write the weights of a run that was stopped within an epoch."""
        engine = self.engine
        if engine is None or self.start_save == 0 or not engine.position.step:
            return
        self._save_optimizer(engine.epoch - 1)  # the running epoch is not finished
        with tested_state(self.engine, self.model) as state:
            is_sound = self._is_sound(state, engine.epoch)
            if is_sound and self.is_main_process and self.model is not None:
                others = self._files.of_others(self._callbacks)
                self._files.replace(LATEST, engine.epoch, None, state, others)
        self._files.forget()

    def resume_model(
        self,
        model: nn.Module,
        optimizer: Any,
        resume: str | os.PathLike[str] | None,
        strict: bool = True,
    ) -> tuple[nn.Module, Any, int]:
        """Load what an earlier run wrote.

        Args:
            model: Changed in place; may be wrapped.
            optimizer: Changed in place, if the file holds its state.
            resume: A folder with ``model_optimizer.pth``, that file, or a file of weights; nothing
                loads nothing, and of one that does not exist a warning is logged.
            strict: Whether all keys must match.

        Returns:
            ``(model, optimizer, start_epoch)``: the first epoch that is still to be trained.

        Raises:
            CheckpointError: If the file is damaged or does not fit.
        """
        start_epoch = resume_model(model, optimizer, Path(resume), strict) if resume else 0
        return model, optimizer, start_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and the files that the next ones replace."""
        return {**self.monitor.state_dict(), "own": self._files.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned; of another metric no best is taken."""
        changed = self.monitor.load_state_dict(state)
        if changed and self.is_main_process:
            self.logger.warning("ModelCheckpoint: %s", changed)
        self._files.load_state_dict(state["own"], with_best=self.monitor.is_of(state))

    @property
    def _files(self) -> WeightFiles:
        if self.weight_files is None:
            raise ConfigError(
                "ModelCheckpoint needs a folder: give it model_dir=..., or set model_dir or "
                "work_dir in the config."
            )
        return self.weight_files

    @property
    def _callbacks(self) -> Sequence[Base]:
        return self.engine.callbacks if self.engine is not None else [self]

    @property
    def _first_kept(self) -> int:
        """With ``start_save=-1``: the first of the last ``model_nums`` epochs."""
        epochs = self.epochs or (self.engine.num_epochs if self.engine is not None else 0)
        return epochs - self.model_nums

    def _use(self, folder: Path) -> None:
        self.model_dir, self.weight_files = folder, WeightFiles(folder)
        if self.is_main_process:
            create_dir(str(folder))

    def _read_value(self, logs: Logs | None) -> float | None:
        """Return the metric of this epoch's test, or of its training without a test loader."""
        if not self.indicator or not self.has_figures(logs):
            return None
        value = self.monitor.read(logs)
        if value is None and self.is_main_process:
            text = "ModelCheckpoint finds no best model: %s"
            self.logger.warning(text, self.monitor.why_missing(logs))
        # What is gathered from all ranks must be asked for by all: the metric of rank 0 decides.
        decides: float | None = self._of_main(value)
        return decides

    def _is_sound(self, state: dict[str, Any], epoch: int) -> bool:
        """Whether the weights are finite; a net of NaN can have the best metric so far."""
        is_sound: bool = self._of_main(are_weights_finite(self.model, state))
        if not is_sound and self.is_main_process:
            text = "the weights of epoch %d are not saved: they are NaN or infinite"
            self.logger.warning(text, epoch_number(epoch))
        return is_sound

    def _of_main(self, value: Any) -> Any:
        """Return rank 0's value where the model is sharded, else this rank's."""
        return DistContext.current().broadcast(value) if is_sharded(self.model) else value

    def _save_optimizer(self, epoch: int) -> None:
        optimizer = self.optimizer
        if optimizer is None and self.engine is not None:
            optimizer = self.engine.optimizer
        if self.model is not None:
            write_state(self._files.folder, epoch, self.model, optimizer)

    def _write_best(self, epoch: int, value: float, state: dict[str, Any]) -> None:
        """Write the best model, describe it, and remove worse ones of earlier runs."""
        files, engine = self._files, self.engine
        others = files.of_others(self._callbacks)
        path = files.replace(BEST, epoch, value, state, others)
        savers = [one for one in self._callbacks if files.shares_folder(one)]
        if engine is not None and monitoring(savers) is self:
            sidecar = describe(engine, path, epoch, self.monitor, value)
            earlier = sidecar.comparable_in(files.folder)
            left = files.remove_worse(earlier, value, self.monitor, {path, *others})
            dataclasses.replace(sidecar, earlier=left).write(files.folder)
        self.logger.info("save best_model:%s", path, extra={"file_only": True})
