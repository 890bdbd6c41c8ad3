"""ModelCheckpoint: which weights are written, which are the best, which are deleted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from basetrainer._deprecated import renamed
from basetrainer._logs import Logs, metrics_by_set
from basetrainer._names import nearest
from basetrainer.callbacks.callbacks import Callback, counts_as
from basetrainer.callbacks.describe import describe
from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.weight_files import WeightFiles, save
from basetrainer.checkpoint.tree import is_finite, read_tree
from basetrainer.distributed.strategy import full_state, load_full_state, own_state
from basetrainer.engine.state import check_model
from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.utils.file_utils import create_dir
from basetrainer.utils.monitor import Monitor
from basetrainer.utils.optimizer_state import load_optimizer_state, optimizer_state
from basetrainer.utils.torch_tools import load_state_dict

OPTIMIZER = "model_optimizer.pth"


class ModelCheckpoint(Callback):
    """Writes weights at the end of each epoch; comes last among the callbacks.

    - ``model_optimizer.pth``: ``{"epoch", "model", "optimizer"}`` of the last epoch (from 0).
    - ``latest_model_EEE_V.VVVV.pth``: the weights of the last epoch.
    - ``model_EEE_V.VVVV.pth``: those of the epochs that ``start_save`` asks for.
    - ``best_model_EEE_V.VVVV.pth``: those of the best epoch; ``weights.json`` beside it says how to
      use them (see :class:`~basetrainer.checkpoint.sidecar.Sidecar`).

    EEE is the epoch, V the figure (left out of the names if there is none). Each file is written
    whole or not at all; several names of the same weights may be one file (hard links). With
    ``resume`` the first one is the state that the run would go on from. The others are plain state
    dicts of the user's model; with averaged weights (``ema_decay``) they hold those that were
    tested.

    Args:
        model: May be wrapped.
        optimizer: One, or a dict, list or tuple of several.
        moder_dir: The old name of ``model_dir``; as the third argument it needs no name.
        epochs: Number of epochs of the run.
        start_save: From which epoch on every ``model_*`` stays; -1 keeps those of the last
            ``model_nums`` epochs, 0 writes nothing but the best model.
        best_save: From which epoch on the best model is looked for.
        indicator: Which figure of the logs is compared; test figures where there are any. "" looks
            for no best model. With several test sets the first one decides, or ``SET/FIGURE``.
        inverse: The old way to say ``mode="min"``: whether smaller is better.
        logger: Where lines go; by default the module's own logger.
        model_nums: See ``start_save``.
        mode: ``min`` or ``max``, in place of ``inverse``.
        model_dir: In place of ``moder_dir``.

    Raises:
        ConfigError: If no folder is given, or it cannot be written.
    """

    @renamed(moder_dir="model_dir=", inverse="mode='min' (smaller is better) or mode='max'")
    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        moder_dir: str | os.PathLike[str] | None = None,
        epochs: int = 0,
        start_save: int | None = -1,
        best_save: int = -1,
        indicator: str = "",
        inverse: bool = False,
        logger: logging.Logger | None = None,
        model_nums: int = 10,
        *,
        mode: str | None = None,
        model_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        folder = moder_dir if moder_dir is not None else model_dir
        if folder is None:
            raise ConfigError("ModelCheckpoint needs a folder: model_dir=...")
        self.model = model
        self.optimizer = optimizer
        self.model_dir = Path(folder)
        self.epochs = epochs
        self.start_save = -1 if start_save is None else start_save
        self.best_save = best_save
        self.model_nums = model_nums
        self.monitor = Monitor(indicator, mode or ("min" if inverse else "max"))
        self.logger = logger or logging.getLogger(__name__)
        self._files = WeightFiles(self.model_dir)
        if self.is_main_process:
            create_dir(str(self.model_dir))

    @property
    def indicator(self) -> str:
        """The figure that is compared."""
        return self.monitor.indicator

    @property
    def best_model(self) -> Path | None:
        """The file of the best weights that this run wrote, on the main process; None if none."""
        return self._files.path_of("best_model")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Warn of callbacks that come later, whose figures would not be seen."""
        checkpointer = self.engine.checkpointer if self.engine is not None else None
        if checkpointer is not None and self.start_save != 0:
            checkpointer.links = [self.model_dir / OPTIMIZER]
        callbacks = list(self.engine.callbacks) if self.engine is not None else [self]
        behind = [type(one).__name__ for one in callbacks[callbacks.index(self) + 1 :]]
        if behind:
            self.logger.warning(
                "ModelCheckpoint should be the last callback: what %s does at an epoch's end "
                "comes after the save",
                ", ".join(behind),
            )

    @counts_as("checkpoints")
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write what is due."""
        figure = self._read_figure(logs)
        is_best = (
            figure is not None
            and epoch >= self.best_save
            and self.monitor.is_better(figure, self.monitor.best)
        )
        keeps_all = self.start_save != 0
        engine = self.engine
        checkpointer = engine.checkpointer if engine is not None else None
        if keeps_all and (checkpointer is None or not checkpointer.links_at_end_of(epoch)):
            self._save_optimizer(epoch)
        if not (keeps_all or is_best):
            return
        with self._tested_state() as state:
            is_best = is_best and self._is_sound(state, epoch)
            if is_best and figure is not None:
                self.monitor.is_new_best(figure, epoch)
            if not self.is_main_process:
                return
            if keeps_all:
                self._files.replace("latest_model", epoch, figure, state)
                if epoch >= (self.start_save if self.start_save > 0 else self._first_kept):
                    self._files.write("model", epoch, figure, state)
            if is_best and figure is not None:
                path = self._files.replace("best_model", epoch, figure, state)
                if engine is not None:
                    describe(engine, path, epoch, self.indicator, figure).write(self.model_dir)
                self._files.remove_worse(path, figure, self.monitor)
                self.logger.info("save best_model:%s", path, extra={"file_only": True})

    @counts_as("checkpoints")
    def on_train_end(self, logs: Logs | None = None) -> None:
        """Write the weights of a run that was stopped within an epoch."""
        engine = self.engine
        if engine is None or self.start_save == 0 or not engine.position.step:
            return
        self._save_optimizer(engine.epoch - 1)  # the running epoch is not finished
        with self._tested_state() as state:
            if self.is_main_process and self.model is not None:
                self._files.replace("latest_model", engine.epoch, None, state)

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
                loads nothing, nor does a path that is not there, which is warned of.
            strict: Whether all keys must match.

        Returns:
            ``(model, optimizer, start_epoch)``: the first epoch that is still to be trained.

        Raises:
            CheckpointError: If the file is damaged or does not fit.
        """
        if not resume:
            return model, optimizer, 0
        path = Path(resume)
        path = path / OPTIMIZER if path.is_dir() else path
        if not path.exists():
            self.logger.warning("resume_model: there is no %s; training begins at epoch 0.", path)
            return model, optimizer, 0
        state = load_state_dict(path)
        try:
            load_full_state(model, state, strict=strict)
        except RuntimeError as error:
            check_model(state, own_state(model), str(path))  # says it in one line
            raise CheckpointError(f"{path} does not fit the model: {error}") from error
        try:
            found = read_tree(path)
        except CheckpointError as error:
            raise CheckpointError(f"{path} cannot be read: {error}.") from error
        if "epoch" not in found:
            return model, optimizer, 0
        try:
            start_epoch = int(found["epoch"]) + 1
            if optimizer is not None and found.get("optimizer"):
                load_optimizer_state(optimizer, found["optimizer"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} does not fit the optimizer: {error}") from error
        return model, optimizer, start_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the best figure so far, and the files that the next ones replace."""
        return {**self.monitor.state_dict(), "own": self._files.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.monitor.load_state_dict(state)
        self._files.load_state_dict(state["own"])

    @property
    def _first_kept(self) -> int:
        """With ``start_save=-1``: the first of the last ``model_nums`` epochs."""
        return self.epochs - self.model_nums

    def _read_figure(self, logs: Logs | None) -> float | None:
        """Return the figure of this epoch's test, or of its training without a test loader."""
        if not self.has_figures(logs):
            return None
        figure = self.monitor.read(logs)
        if figure is None and self.indicator:
            known = _names(logs)
            meant = nearest(self.indicator, known)
            self.logger.warning(
                "ModelCheckpoint: no figure is called %r, so there is no best model.%s Known: %s",
                self.indicator,
                f" Did you mean {meant!r}?" if meant else "",
                ", ".join(known) or "none",
            )
        return figure

    def _is_sound(self, state: dict[str, Any], epoch: int) -> bool:
        """Whether the weights are finite; a net of NaN can have the best figure so far."""
        if is_finite(state):
            return True
        self.logger.warning("epoch %d is not the best: its weights are NaN or infinite", epoch)
        return False

    @contextmanager
    def _tested_state(self) -> Iterator[dict[str, Tensor]]:
        """Give the state dict that was tested; collective where the model is sharded."""
        engine, model = self.engine, self.model
        if model is None:
            yield {}
            return
        weights = engine.test_weights if engine is not None else nullcontext
        averages: Any = getattr(weights, "__self__", None)
        try:
            if isinstance(averages, EMA):
                yield averages.averaged_state()  # without moving a weight
            else:
                with weights():
                    yield full_state(model)
        finally:
            self._files.forget()

    def _save_optimizer(self, epoch: int) -> None:
        if self.model is None:
            return
        state = {  # collective where the model is sharded
            "epoch": epoch,
            "model": full_state(self.model),
            "optimizer": optimizer_state(self.optimizer),
        }
        if self.is_main_process:
            save(self.model_dir / OPTIMIZER, state)


def _names(logs: Logs | None) -> list[str]:
    """Return the names of all figures in the logs."""
    names: dict[str, None] = {}
    for phase in ("test", "train"):
        for test_set, metrics in metrics_by_set((logs or {}).get(phase)).items():
            for name, value in metrics.items():
                names[f"{test_set}/{name}" if test_set else name] = None
                if isinstance(value, dict):
                    names.update(dict.fromkeys(value))
    return list(names)
