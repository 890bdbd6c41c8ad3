"""TrainingData: the training batches of each epoch, from the run's position on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from basetrainer._epochs import epoch_number
from basetrainer.data.loader import filler
from basetrainer.data.placed import length
from basetrainer.data.resume import position_state, set_position
from basetrainer.data.stream import EpochStream
from basetrainer.engine.position import Position

logger = logging.getLogger(__name__)


class TrainingData:
    """Places the training loader at each epoch's start, or where a run goes on.

    Args:
        steps_per_epoch: Cuts the loader's passes into epochs of so many batches; None makes each
            pass an epoch.

    Attributes:
        place: What the data need beside the position to go on there; None where they go on by
            themselves.
    """

    def __init__(self, steps_per_epoch: int | None) -> None:
        self.place: dict[str, Any] | None = None
        self._steps_per_epoch = steps_per_epoch
        self._stream: EpochStream | None = None
        self._begun: tuple[Any, int, Any] = None, 0, None  # data, epoch, place of the last pass
        self._num_samples: int | None = None

    def of(self, loader: Any) -> Any:
        """Return what is iterated over: the loader, or the stream that is made of it."""
        if self._steps_per_epoch is None:
            return loader
        if self._stream is None:
            self._stream = EpochStream(loader, self._steps_per_epoch)
        return self._stream

    def fillers(self, loader: Any) -> Callable[[int, int], bool] | None:
        """Return what tells, by epoch and step, which batches count for nothing; None: all do."""
        last = filler(loader)
        if last is None:
            return None
        per_epoch = self._steps_per_epoch or 0  # without it each epoch is one pass
        return lambda epoch, step: (epoch * per_epoch + step) % (last + 1) == last

    def state(self, loader: Any, position: Position) -> dict[str, Any]:
        """Return what the data need beside ``position`` to go on there."""
        if self.place is not None:  # not gone on yet
            return self.place
        return position_state(self.of(loader), position.epoch, position.step)

    def epoch(self, loader: Any, epoch: int, position: Position) -> Iterable[Any]:
        """Return the batches of an epoch from ``position.step`` on.

        Data that can only start anew set ``position.step`` to 0.
        """
        data: Iterable[Any] = self.of(loader)
        self._tell_size(loader, epoch)
        place, self.place = self.place, None
        self._begun = data, epoch, place or position_state(data, epoch, position.step)
        if data is loader or place is not None:  # a stream goes on by itself
            position.step = set_position(data, epoch, position.step, place)
        return data

    def again(self, step: int) -> int:
        """Place the data of the running epoch at its batch ``step`` once more.

        Returns:
            The batch that will come first: ``step``, or 0 for data that can only start anew.
        """
        data, epoch, place = self._begun
        return set_position(data, epoch, step, place)

    def _tell_size(self, loader: Any, epoch: int) -> None:
        """Say so if the dataset has grown or shrunk since the epoch before."""
        before, self._num_samples = self._num_samples, length(getattr(loader, "dataset", None))
        if before not in (None, self._num_samples):
            logger.warning(
                "epoch %d: the training data have %d samples; the epoch before they had %d",
                epoch_number(epoch),
                self._num_samples,
                before,
            )
