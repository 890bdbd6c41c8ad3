"""The stage of a dry run: its folder, what stays as it was, and how weights are compared."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from basetrainer._logs import Logs
from basetrainer.checkpoint.rng import rng_state, set_rng_state
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.base import Base
from basetrainer.engine.preflight.report import DryRunReport, Listener
from basetrainer.utils.log import PACKAGE


class Probe(Base):
    """Notes where a run that goes on begins."""

    def __init__(self) -> None:
        self.epoch = -1
        self.weights: dict[str, tuple[float, float]] = {}
        self._engine: Any = None

    def attach(self, engine: Any) -> None:
        """Remember the engine, for as long as it lives anyway."""
        self._engine = engine

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look at position and weights, which are restored by now."""
        self.epoch = self._engine.position.epoch
        self.weights = weight_sums(self._engine.model)
        self._engine = None


def weight_sums(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Return two numbers for each weight that is trained, by its name."""
    return {
        name: (float(one.detach().double().sum()), float(one.detach().double().square().sum()))
        for name, one in unwrap(model).named_parameters()
        if one.requires_grad
    }


def last_batch(loader: Any) -> tuple[Any, int]:
    """Make a batch of as many samples as the last one of an epoch has.

    Returns:
        The batch, and its number of samples; ``(None, 0)`` if it is as large as the others, or if
        the loader does not tell.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None, 0
    size, collate = loader.batch_size, loader.collate_fn
    if not size or loader.drop_last or not isinstance(loader.sampler, Sized):
        return None, 0
    rest = len(loader.sampler) % size
    if not rest or len(loader.sampler) < size:
        return None, 0
    return collate([loader.dataset[index] for index in range(rest)]), rest


@contextmanager
def undisturbed(report: DryRunReport) -> Iterator[None]:
    """Keep generators and logging as they are; meanwhile show warnings only, and note them."""
    package = logging.getLogger(PACKAGE)
    handlers, level, propagate = list(package.handlers), package.level, package.propagate
    disabled = logging.root.manager.disable
    device = DistContext.current().device
    generators = rng_state(device)
    listener = Listener(report)
    package.addHandler(listener)
    logging.disable(max(disabled, logging.INFO))
    try:
        yield
    finally:
        logging.disable(disabled)
        for handler in package.handlers:
            if handler not in handlers:
                handler.close()  # a log file of the temporary folder
        package.handlers[:] = handlers
        package.setLevel(level)
        package.propagate = propagate
        set_rng_state(generators, device)


@contextmanager
def temporary_folder(context: DistContext) -> Iterator[Path]:
    """Make one folder for all processes, and remove it when all are done."""
    folder = Path(context.on_main(lambda: tempfile.mkdtemp(prefix="basetrainer-dry-run-")))
    try:
        yield folder
        context.barrier()
    finally:
        if context.is_main:
            shutil.rmtree(folder, ignore_errors=True)
