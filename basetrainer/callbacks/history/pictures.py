"""Pictures: when curves and confusion matrix of a run are drawn, and where they go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basetrainer.callbacks.history.eval_plots import Scene
from basetrainer.callbacks.history.part import EpochSummary, HistoryPart, HistoryStart
from basetrainer.callbacks.history.samples import SampleCollector
from basetrainer.config.settings import get
from basetrainer.data.placed import length
from basetrainer.engine.engine import Engine
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.errors import MissingExtraError
from basetrainer.plots.canvas import png
from basetrainer.plots.curves import draw_curves
from basetrainer.plots.history import read_run
from basetrainer.utils.file_utils import write_atomically

logger = logging.getLogger(__name__)

SHARE = 0.05
"""The largest share of a run's time that drawing takes before its end."""

_FIRST_COST = 1.0
"""Seconds that the first drawing is taken to need: it imports matplotlib."""


class Pictures(HistoryPart):
    """Draws ``curves.png`` and ``confusion_matrix.png`` at new bests and at the end.

    A new best is drawn if that keeps all drawing below a twentieth of the run's time; one that was
    not is drawn at the end. Several test sets have ``confusion_matrix_SET.png`` each. A picture
    that cannot be drawn is a line in the log: no run ends because of it.

    Args:
        start: Where the run's ``metrics.jsonl`` and its board are.
        engine: Who trains; it says which folder is the run's.
        clock: Returns seconds.
    """

    def __init__(
        self,
        start: HistoryStart,
        engine: Engine | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log_dir = start.log_dir
        self._folder = picture_folder(start.log_dir, engine.cfg if engine is not None else None)
        self._board = start.board
        self._clock = clock
        self._due = clock() + _FIRST_COST / SHARE
        self._samples: dict[str, SampleCollector] = {}
        self._scene: Scene | None = None  # of the best epoch, or of the last one if none is best
        # The matrix that is there stays until an epoch is the best so far.
        self._is_drawn = start.has_best and any(self._folder.glob("confusion_matrix*.png"))
        self._is_off = False

    def on_test_summary(self, engine: Engine, batch: int, inputs: Any, outputs: Any) -> None:
        """Keep images of a test batch, until they are drawn or the next evaluation begins."""
        name = engine.test_set
        if batch == 0:
            loader = named_test_sets(engine.test_loader).get(name)
            self._samples[name] = SampleCollector(length(loader))
        if name in self._samples:
            self._samples[name].see(batch, inputs, outputs)

    def on_epoch_end(self, engine: Engine | None, summary: EpochSummary) -> None:
        """Take in an evaluation; draw it if it is the best one and drawing is due."""
        if engine is None or not summary.is_tested:
            return
        samples = {name: one.held for name, one in self._samples.items() if one.held}
        self._samples = {}
        is_best = bool(summary.new_best)
        if not is_best and (self._is_drawn or (self._scene and self._scene.is_best)):
            return
        self._scene = Scene.of(engine, summary.epoch, samples, is_best=is_best)
        self._is_drawn = False
        if is_best and self._clock() >= self._due:
            self.draw()

    def on_train_end(self, engine: Engine | None) -> None:
        """Draw the run as it ended."""
        self.draw()

    def draw(self) -> None:
        """Draw the curves, and the best evaluation if it was not drawn yet."""
        if self._is_off:
            return
        begin = self._clock()
        try:
            self._write("curves", png(draw_curves([read_run(self._log_dir)])))
            if self._scene is not None and not self._is_drawn:
                matrices, images = self._scene.draw()
                for tag, data in matrices.items():
                    self._write(tag.replace("/", "_"), data)
                self._board.add_pictures({**matrices, **images}, self._scene.epoch)
                self._is_drawn = True
        except MissingExtraError as error:
            self._is_off = True
            logger.info("no pictures: %s; then: basetrainer plot %s", error, self._log_dir)
        except Exception as error:  # a full disk, a font, a figure of the user's own
            logger.warning("no pictures: %s: %s", type(error).__name__, error)
        now = self._clock()
        self._due = now + (now - begin) / SHARE

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(self._folder / f"{name}.png", lambda file: file.write(data))


def picture_folder(log_dir: Path, cfg: Any) -> Path:
    """Return where the pictures of a run go.

    It is ``cfg.work_dir`` if the log folder lies in it, as in ``work_dir/log``; else nothing but
    the log folder is known to be the run's own.
    """
    work_dir = get(cfg, "work_dir")
    if isinstance(work_dir, str) and log_dir.resolve().parent == Path(work_dir).resolve():
        return Path(work_dir)
    return log_dir
