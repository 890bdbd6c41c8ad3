"""SWA: the mean of the weights after each of the last epochs, tested and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer._logs import Logs
from basetrainer.callbacks.ema import EMA
from basetrainer.checkpoint.rng import rng_state, set_rng_state
from basetrainer.config.values import as_float, as_int
from basetrainer.data.resume import position_state, set_position
from basetrainer.distributed.strategy import evaluating, unwrap
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError
from basetrainer.optimizer.ratios import ratios


class SWA(EMA):
    """Stochastic weight averaging (https://arxiv.org/abs/1803.05407) over the last epochs.

    From ``start_epoch`` on the weights at the end of each epoch enter a mean. That mean is what is
    tested, and what ModelCheckpoint writes as best and latest; training goes on with the weights
    themselves. The statistics of its BatchNorms are taken anew each time it has changed, over the
    training data of the epoch, by ``run_step`` without gradients: one more pass over the data for
    each averaged epoch, and none for a model without BatchNorms.

    Args:
        start_epoch: The first epoch, from 0, whose weights are averaged.
        lr: The learning rate from then on, in place of the schedule's; groups keep their ratios.
            None leaves it to the schedule.

    Raises:
        ConfigError: If a number is out of range; if the run averages weights by ``ema_decay``,
            too, or is sharded.
    """

    def __init__(self, start_epoch: int, lr: float | None = None) -> None:
        super().__init__()
        self.start_epoch = as_int("start_epoch", start_epoch, "SWA", minimum=0)
        self.lr = None if lr is None else as_float("lr", lr, "SWA", above=0.0)
        self._due: int | None = None  # the epoch whose weights are still to be taken in
        self._is_on = False  # whether the running epoch is averaged
        self._last = -1  # the epoch whose weights were taken in last

    def attach(self, engine: Engine) -> None:
        """Refuse what cannot be averaged."""
        super().attach(engine)
        if engine.config.ema_decay is not None or any(
            isinstance(one, EMA) and not isinstance(one, SWA) for one in engine.callbacks
        ):
            raise ConfigError(
                "SWA and ema_decay (EMA) both say which weights are tested. Leave one of them out."
            )

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Offer the mean to the engine."""
        engine = self.engine
        if engine is not None and self.start_epoch >= engine.num_epochs:
            raise ConfigError(
                f"SWA(start_epoch={self.start_epoch}): epochs count from 0, and the run has "
                f"{engine.num_epochs}, so none would be averaged. Lower start_epoch."
            )
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Get ready to take in the weights when the epoch is trained."""
        super().on_epoch_begin(epoch, logs)
        self._is_on = epoch >= self.start_epoch
        # A run that was ended while it tested has taken them in, and tests once more.
        self._due = epoch if self._is_on and epoch > self._last else None
        self._set_lr()

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Keep the learning rate, whatever a schedule has written."""
        self._set_lr()

    def on_optimizer_step(self, update: int, logs: Logs | None = None) -> None:
        """Keep the learning rate in a loop that calls no hooks of a batch."""
        self._set_lr()

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Put the mean in the place of the weights, and back again whatever happens."""
        due, self._due = self._due, None
        if due is not None:
            self._take_in()
            self._last = due
        if not self.num_updates:
            yield
            return
        with super().swapped_in():
            if due is not None and self.engine is not None:
                _take_statistics(self.engine)
            yield

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the model's state dict with the mean in the place of the weights."""
        engine = self.engine
        if not self.num_updates and engine is not None:
            return unwrap(engine.model).state_dict()
        return super().averaged_state()

    def state_dict(self) -> dict[str, Any]:
        """Return the mean, the number of epochs in it, and the last of them."""
        return {**super().state_dict(), "last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._last = state["last"]
        if self._due is not None and self._due <= self._last:
            self._due = None

    def _next_decay(self) -> float:
        return self.num_updates / (self.num_updates + 1)

    def _set_lr(self) -> None:
        if self.lr is None or not self._is_on or self.engine is None:
            return
        for optimizer in self.engine.optimizers:
            for group, ratio in zip(optimizer.param_groups, ratios(optimizer), strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(self.lr * ratio)
                else:
                    group["lr"] = self.lr * ratio


@torch.no_grad()
def _take_statistics(engine: Engine) -> None:
    """Give BatchNorms that learn the statistics of the epoch's training data, for its weights."""
    model = unwrap(engine.model)
    model.train()
    norms: list[Any] = [
        one
        for one in model.modules()
        if isinstance(one, nn.modules.batchnorm._BatchNorm)
        and one.training  # a frozen one keeps its own
        and one.track_running_stats
    ]
    if not norms:
        return
    drawn = rng_state(engine.device)  # what the pass draws must not change the training
    kept = [(one.momentum, one.num_batches_tracked.clone()) for one in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        nn.Module.train(norm, True)
    data = engine.training_data.of(engine.train_loader)
    following = position_state(data, engine.epoch + 1, 0)
    engine.training_data.again(0)
    try:
        with evaluating(engine.model):
            for inputs in data:
                with engine.precision():
                    engine.run_step(engine.to_device(inputs))
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(tracked)
        set_rng_state(drawn, engine.device)
        if data is not engine.train_loader:  # a stream goes on behind what was read last
            set_position(data, engine.epoch + 1, 0, following)
    for norm in norms:
        norm.running_mean.copy_(engine.context.mean(norm.running_mean))
        norm.running_var.copy_(engine.context.mean(norm.running_var))
