"""Board: what TensorBoard shows of a run, on disk at the end of each epoch."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import torch

from basetrainer._logs import PHASES, Logs, Metrics, metrics_by_set
from basetrainer._metrics import as_number, flat_numbers
from basetrainer.callbacks.history.hparams import flat_settings, session_end
from basetrainer.utils.disk import free_bytes
from basetrainer.utils.torch_tools import evaluation_mode

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

P = ParamSpec("P")
logger = logging.getLogger(__name__)

STEPS = "steps"
"""The folder of the curves over the updates: their x axis is not that of the others."""

_LEAST_ROOM = 1 << 20
"""Bytes; with less free, nothing is written any more."""


def _off_on_failure(
    write: Callable[Concatenate[Board, P], None],
) -> Callable[Concatenate[Board, P], None]:
    """Go without the curves where they cannot be written; no run ends because of them."""

    @functools.wraps(write)
    def guarded(self: Board, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.is_off:
            return
        try:
            write(self, *args, **kwargs)
        except OSError as error:
            self.is_off = True
            reason = error.strerror or error
            logger.warning("%s: %s; no more curves for TensorBoard", self.log_dir, reason)

    return guarded


class Board:
    """Writes curves over epochs and over updates, settings and pictures.

    Over the epochs: ``train_X_epoch``, ``test_X_epoch``, ``lr_epoch``, and ``best_X_epoch`` in the
    epochs that were the best so far. A dict of losses becomes one event file per loss, in
    ``test_X_epoch/NAME/`` under the same tag, so that TensorBoard draws them into one chart, each
    under its name. So does a metric of several test sets. Over the updates, in ``steps/``:
    ``train_X_step``, ``train_X_step/NAME`` of a dict, ``lr_step``.

    Args:
        log_dir: Where the event files go; a folder is made with its first event.
        first_epoch: Of a resumed run, the epoch that comes next: what an earlier process wrote
            from it on is hidden. None for a new run.
        last_update: Likewise, the updates that are done.

    Attributes:
        is_off: Whether nothing is written any more, since the disk is full or gone.
    """

    def __init__(
        self, log_dir: Path, first_epoch: int | None = None, last_update: int | None = None
    ) -> None:
        self.log_dir = log_dir
        self.is_off = False
        self._first_epoch = first_epoch
        # A point at update U tells of the U updates before it, so it is not to come again.
        self._first_update = None if last_update is None else last_update + 1
        self._writers: dict[str, SummaryWriter] = {}

    @_off_on_failure
    def add_settings(self, cfg: Mapping[str, Any]) -> None:
        """Write the settings of the run, for the HPARAMS page."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        # Runs with the same settings stay apart on the page.
        self._add_summary(hparams_pb(flat_settings(cfg), trial_id=str(self.log_dir)))

    @_off_on_failure
    def add_step(self, update: int, metrics: Metrics, lr: float) -> None:
        """Write training metrics after so many updates."""
        writer = self._writer(STEPS)
        for name, value in metrics.items():
            tag = f"train_{name}_step"
            if isinstance(value, Mapping):
                for part, one in flat_numbers(value).items():
                    writer.add_scalar(f"{tag}/{part}", one, update)
            elif (number := as_number(value)) is not None:
                writer.add_scalar(tag, number, update)
        writer.add_scalar("lr_step", lr, update)

    @_off_on_failure
    def add_epoch(
        self, epoch: int, logs: Logs, indicators: Sequence[str], best: Mapping[str, float]
    ) -> None:
        """Write an epoch's metrics, and everything before them through to the disk.

        Args:
            epoch: Counts from 0.
            logs: The run's logs.
            indicators: Which metrics are written; all if there is none.
            best: The monitored metric, by its name, if it is the best so far.
        """
        self._writer().add_scalar("lr_epoch", as_number(logs.get("lr")) or 0.0, epoch)
        for name, value in logs.items():
            if name.startswith("lr/"):  # of each group
                tag = f"lr_epoch/{name.removeprefix('lr/')}"
                self._writer().add_scalar(tag, as_number(value) or 0.0, epoch)
        for phase in PHASES:
            for test_set, metrics in metrics_by_set(logs.get(phase)).items():
                for name in indicators or metrics:
                    if name in metrics:
                        self._add_metric(f"{phase}_{name}_epoch", test_set, metrics[name], epoch)
        for name, value in best.items():
            self._writer().add_scalar(f"best_{name}_epoch", value, epoch)
        self._flush()

    @_off_on_failure
    def add_pictures(self, pictures: Mapping[str, bytes], epoch: int) -> None:
        """Write PNG files, each under its tag."""
        import numpy as np
        from PIL import Image

        for tag, data in pictures.items():
            pixels = np.asarray(Image.open(io.BytesIO(data)))
            self._writer().add_image(tag, pixels, epoch, dataformats="HWC")

    @_off_on_failure
    def add_graph(self, model: torch.nn.Module, inputs: Any) -> None:
        """Write the graph of a model; one that cannot be traced is a warning, never an error.

        Args:
            model: The user's model, not wrapped.
            inputs: What its ``forward`` gets.
        """
        said = io.StringIO()  # torch prints the error of a trace and much besides
        try:
            with (
                contextlib.redirect_stdout(said),
                warnings.catch_warnings(),
                torch.random.fork_rng(devices=[]),
                torch.no_grad(),
                evaluation_mode(model),
            ):
                warnings.simplefilter("ignore")
                self._writer().add_graph(model, inputs)
        except Exception as error:  # whatever the tracer or the model's own code may raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            logger.warning("no model graph for TensorBoard: it cannot be traced (%s)", reason)

    def close(self, *, has_failed: bool = False) -> None:
        """Say how the run ended, and close the event files."""
        self._end(has_failed=has_failed)
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()
        self._writers.clear()

    @_off_on_failure
    def _end(self, *, has_failed: bool) -> None:
        self._add_summary(session_end(has_failed=has_failed))
        self._flush()

    def _add_metric(self, tag: str, test_set: str, value: Any, epoch: int) -> None:
        """Write a metric, or each part of it into a folder of its own; nothing if no number."""
        folder = f"{tag}/{test_set}" if test_set else ""
        if isinstance(value, Mapping):
            for part, one in flat_numbers(value).items():
                self._writer(f"{folder or tag}/{part}").add_scalar(tag, one, epoch)
        elif (number := as_number(value)) is not None:
            self._writer(folder).add_scalar(tag, number, epoch)

    def _add_summary(self, summary: Any) -> None:
        writer: Any = self._writer().file_writer
        writer.add_summary(summary)

    def _flush(self) -> None:
        """Bring everything to the disk."""
        if free_bytes(self.log_dir) < _LEAST_ROOM:  # asked here: events are written in a thread
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, name: str = "") -> SummaryWriter:
        """Return the writer of a sub-folder, by the names of metrics that may be any text."""
        folder = "/".join(part for part in name.split("/") if part.strip(". "))
        if folder not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # costs a second of imports

            purge_step = self._first_update if folder == STEPS else self._first_epoch
            path = str(self.log_dir / folder)
            self._writers[folder] = SummaryWriter(path, purge_step=purge_step)
        return self._writers[folder]
