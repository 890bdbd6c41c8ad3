"""Unfreeze: train parts of the model from an epoch on that were frozen until then."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from basetrainer._logs import Logs
from basetrainer._names import matches
from basetrainer._wrappers import unwrap
from basetrainer.callbacks.callbacks import Callback
from basetrainer.config.values import as_float, as_int
from basetrainer.distributed.strategy import is_sharded
from basetrainer.engine.engine import Engine
from basetrainer.errors import ConfigError
from basetrainer.models.freeze import checked_patterns, thaw
from basetrainer.optimizer.param_groups import Entry, group_by, owned

logger = logging.getLogger(__name__)


class Unfreeze(Callback):
    """Thaws what :func:`~basetrainer.models.freeze.freeze` froze, when an epoch begins.

    The optimizer gets the parameters as groups of their own before training starts; while they are
    frozen they have no gradient, so it leaves them alone. A checkpoint has therefore the same
    groups in every stage. Their learning rate is ``lr_scale`` times that of the optimizer; its
    schedule scales theirs, too. Their other options are the optimizer's. The BatchNorms among them
    go on learning their statistics then.

    Args:
        at_epoch: The first epoch, from 0, that trains them.
        patterns: Names of modules or parameters, one or several, as for ``freeze``: ``"layer4"``.
        lr_scale: Their learning rate over that of the optimizer, above 0.
        split_params: Whether norms, biases and other vectors have no weight decay; None means as
            in the optimizer's other groups.
        optimizer: Which optimizer gets them, where the run has several; None is the only one.

    Raises:
        ConfigError: If a number is out of range; and, before the first step, if a pattern matches
            nothing or nothing frozen, or the model is sharded (``fsdp2``).
    """

    def __init__(
        self,
        at_epoch: int,
        patterns: str | Sequence[str],
        lr_scale: float = 1.0,
        *,
        split_params: bool | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        super().__init__()
        self.at_epoch = as_int("at_epoch", at_epoch, "Unfreeze", minimum=0)
        self.patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self.lr_scale = as_float("lr_scale", lr_scale, "Unfreeze", above=0.0)
        self.split_params = split_params
        self._optimizer = optimizer
        self._prepared: weakref.ref[Optimizer] | None = None

    def attach(self, engine: Engine) -> None:
        """Give the optimizer the parameters, still frozen, before a checkpoint is loaded."""
        super().attach(engine)
        if engine.model is None or not engine.optimizers:
            return
        optimizer = self._optimizer or self._only(engine.optimizers)
        if self._prepared is None or self._prepared() is not optimizer:
            if is_sharded(engine.model):
                raise ConfigError("Unfreeze does not go with strategy: fsdp2. Set strategy: ddp.")
            self._add_groups(unwrap(engine.model), optimizer)
            self._prepared = weakref.ref(optimizer)
            if self.at_epoch >= engine.num_epochs:
                logger.warning(
                    "Unfreeze at_epoch=%d: epochs count from 0 and the run has %d, so %s stays "
                    "frozen",
                    self.at_epoch,
                    engine.num_epochs,
                    ", ".join(self.patterns),
                )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Thaw, in the epoch itself or in a run that is resumed in a later one."""
        if epoch >= self.at_epoch and self.engine is not None:
            thawed = thaw(self.engine.model, self.patterns)
            if thawed:
                logger.info("thawed: %d parameters of %s", len(thawed), ", ".join(self.patterns))

    def _add_groups(self, model: nn.Module, optimizer: Optimizer) -> None:
        names = checked_patterns(model, self.patterns, "thaw")
        entries = [
            one
            for one in owned(model)
            if matches(one.name, names) and not one.parameter.requires_grad
        ]
        if not entries:
            raise ConfigError(
                f"Unfreeze(at_epoch={self.at_epoch}, {self.patterns!r}): nothing that matches is "
                f"frozen. Freeze it first: freeze: {self.patterns} in the config, or "
                f"freeze(model, {self.patterns!r}) in build_model."
            )
        _take_out(optimizer, entries)
        groups = [one for one in optimizer.param_groups if "lr_scale" not in one]
        decays = {float(one.get("weight_decay", 0.0)) for one in groups}
        split = len(decays) > 1 and 0.0 in decays
        if self.split_params is not None:
            split = self.split_params and bool(decays)
        lr = float(optimizer.defaults["lr"]) * self.lr_scale
        own = optimizer.defaults["lr"]
        decay = max(decays) if "weight_decay" in optimizer.defaults and decays else None
        for group in group_by(entries, [lr] * len(entries), decay, split=split):
            # A captured or compiled step reads its learning rate from a tensor.
            rate = own.new_tensor(lr) if isinstance(own, Tensor) else lr
            optimizer.add_param_group({**group, "lr": rate, "lr_scale": self.lr_scale})

    @staticmethod
    def _only(optimizers: Sequence[Optimizer]) -> Optimizer:
        if len(optimizers) > 1:
            raise ConfigError(
                f"Unfreeze: the run has {len(optimizers)} optimizers. Say which one trains what is "
                f"thawed: Unfreeze(..., optimizer=...)."
            )
        return optimizers[0]


def _take_out(optimizer: Optimizer, entries: Sequence[Entry]) -> None:
    """Take parameters out of the groups they are in: the optimizer was made before the freeze."""
    taken = {id(one.parameter) for one in entries}
    for group in optimizer.param_groups:
        kept: list[Any] = [one for one in group["params"] if id(one) not in taken]
        if len(kept) < len(group["params"]):
            group["params"] = kept
