"""TrainBatches: the training batches of one epoch, which count themselves as they are taken."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from basetrainer._epochs import epoch_number
from basetrainer.data.in_step import even_lengths, in_step
from basetrainer.data.loader import look_ahead
from basetrainer.data.placed import length
from basetrainer.engine.resume.signals import STOP
from basetrainer.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)


class TrainBatches:
    """What ``run_train_epoch`` gets as its dataset; iterating over it keeps the books of the epoch.

    A batch begins when it is handed out and ends when the next one is asked for, or
    ``run_train_epoch`` returns. In between it is the running batch: ``position.step`` is its
    number, and its place in a window of accumulation is known. When it ends, hand-made optimizer
    steps are counted, losses are checked at log points, the run is saved if that is due, and it
    stops if that was asked for: the iteration ends. So a loop of the user's own has nothing to do
    but to train, and may leave early: a window of accumulation that is open then is closed.

    A second pass in the same epoch goes on counting, but no run could be resumed in it: nothing is
    saved before the epoch ends. If nothing was trained in the first pass, it begins anew instead.

    Other attributes are those of the data.

    Args:
        engine: Who trains.
        data: The batches; placed at ``engine.position.step``. No more of them are taken than
            ``engine.max_batches``.

    Attributes:
        is_whole: Whether no batch is left.
        is_counted: Whether ``engine.position`` tells what was trained, so that a checkpoint within
            the epoch can be resumed.
    """

    def __init__(self, engine: Engine, data: Iterable[Any]) -> None:
        self._engine = engine
        self._data = data
        self._most = engine.max_batches
        self.is_whole = False
        self.is_counted = True
        self._has_begun = False
        self._has_trained = False
        self._num_given = 0
        self._is_open = False  # whether a batch has begun and not ended
        self._begin = engine.position.step
        self._update = engine.position.update

    def __iter__(self) -> Iterator[Any]:
        engine, position = self._engine, self._engine.position
        self._begin_pass()
        accumulate = engine.accumulate_steps
        waits = engine.run_clock.waits(self._in_step())
        if self._most is not None:
            waits = itertools.islice(waits, max(self._most - position.step, 0))
        # Without accumulation nothing is read ahead.
        batches = look_ahead(waits) if accumulate > 1 else zip(waits, itertools.repeat(True))
        step = position.step
        for batch, is_last in batches:
            position.step = step
            engine.inputs = batch
            engine._window_ends = is_last or (step + 1) % accumulate == 0
            engine._is_given, engine._is_trained, self._is_open = True, False, True
            self._num_given += 1
            yield batch
            if not self._is_open:  # another pass has ended it
                return
            step += 1
            if self._end_batch(step):
                self.is_whole = step == length(self)
                if not self.is_whole and not length(self):
                    self.is_whole = next(batches, None) is None  # it may have been the last one
                return
        self.is_whole = True

    def __len__(self) -> int:
        size = len(self._data)  # type: ignore[arg-type] # an error like that of the data
        return size if self._most is None else min(size, self._most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_data"], name)

    def close(self) -> None:
        """End the running batch, since nothing more will be asked for, and look at the epoch.

        Raises:
            ConfigError: If there was no batch.
        """
        self._leave_batch()
        engine, position = self._engine, self._engine.position
        self.is_whole |= not self._has_begun or position.step == length(self)
        if not self._has_begun:
            self.is_counted = False
        if self._has_begun and not position.step:
            raise ConfigError(
                f"Epoch {epoch_number(engine.epoch)} had no training batch. Is the training set "
                f"empty, or smaller than one batch with drop_last?"
            )
        trained = self._has_trained or position.update > self._update or self._begin
        if not trained:
            engine._say_once(
                "run_train_epoch has trained nothing: neither train_step nor update was called, "
                "and no optimizer was stepped. Call self.train_step(inputs) for each batch in it."
            )

    def _in_step(self) -> Iterable[Any]:
        """Return the data; of streams on several ranks, those that end when all ranks' do."""
        engine, data = self._engine, self._data
        config, context = engine.config, engine.context
        is_alone = context.world_size == 1 or config.strategy == "single"
        if is_alone or config.steps_per_epoch or even_lengths(engine.train_loader, context):
            return data
        return in_step(data, context)

    def note_training_elsewhere(self) -> None:
        """Hear of training on a batch that is not the running one.

        Raises:
            UsageError: If batches are accumulated, and none came from here.
        """
        engine = self._engine
        self._has_trained = True
        if not self._has_begun and engine.accumulate_steps > 1:
            raise UsageError(
                f"accumulate_steps: {engine.accumulate_steps} needs the batches of the dataset "
                f"that run_train_epoch gets, but it trains on others. Iterate over dataset, or "
                f"over self.batches(dataset, title)."
            )
        self.is_counted = False
        engine._say_once(
            "run_train_epoch trains on batches that are not taken from its dataset, or were taken "
            "from it earlier. They are not counted: within this epoch nothing is saved, and "
            "signals wait for its end. Iterate over dataset, and let what reads ahead or mixes "
            "wrap the loader in build_train_loader."
        )

    def _begin_pass(self) -> None:
        engine = self._engine
        self._leave_batch()
        is_first, self._has_begun = not self._has_begun, True
        if is_first:
            return
        self.is_whole = False
        if not (self._has_trained or engine.position.update > self._update):
            # Somebody has looked at the batches.
            engine.position.step = self._begin = engine.training_data.again(self._begin)
            return
        self.is_counted = False
        if engine.checkpointer is not None:
            engine._say_once(
                "run_train_epoch takes a second pass over its dataset. A run cannot be resumed in "
                "it, so nothing is saved until the epoch ends. Raise num_epochs, or set "
                "steps_per_epoch, in its place."
            )

    def _leave_batch(self) -> None:
        """End the running batch early; one that nobody trained on was not taken."""
        if self._is_open:
            engine = self._engine
            trained = engine._is_trained or engine._has_stepped
            engine._window_ends = True  # nothing follows
            self._end_batch(engine.position.step + trained)

    def _end_batch(self, step: int) -> bool:
        """Do what comes between two batches; return whether the run stops here.

        Args:
            step: Batches that are done.
        """
        engine = self._engine
        self._is_open = engine._is_given = False
        self._has_trained |= engine._is_trained
        window_ends = engine._window_ends
        if window_ends and engine.accumulate_steps > 1:
            engine._flush_windows()
        engine._note_hand_steps()
        frequency = engine.config.log_freq
        if frequency > 0 and step % frequency == 0:
            engine.check_finite()
        engine.position.step = step
        if not window_ends:
            return False
        request = engine.requests.poll()
        if engine.checkpointer is not None:
            engine._answer(request)
        return request >= STOP
