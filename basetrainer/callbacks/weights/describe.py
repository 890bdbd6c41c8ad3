"""Describe the best weights of a run, for whoever uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basetrainer._monitor import Monitor
from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.weights.preparation import Preparation, preparation_of
from basetrainer.checkpoint.sidecar import Sidecar
from basetrainer.config.settings import get
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.engine import Engine
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.models.structure import network_of


def describe(engine: Engine, weights: Path, epoch: int, monitor: Monitor, figure: float) -> Sidecar:
    """Return the sidecar of a file of weights that was just written.

    The classes are those of the training data, of the setting ``class_name`` or of a recorder;
    how images are prepared is what :func:`preparation_of` finds; without it ``input_size`` is None.
    """
    cfg = engine.cfg
    net = network_of(unwrap(engine.model))
    size = net.get("input_size") or get(cfg, "input_size")
    tests = next(iter(named_test_sets(engine.test_loader).values()))
    prepared = preparation_of(tests or engine.train_loader, cfg, size) or Preparation()
    return Sidecar(
        weights=weights.name,
        epoch=epoch,
        indicator=monitor.indicator,
        figure=figure,
        mode=monitor.mode,
        are_averaged=isinstance(getattr(engine.test_weights, "__self__", None), EMA),
        net=net,
        class_names=_class_names(engine),
        input_size=prepared.input_size,
        transform=prepared.transform,
        mean=prepared.mean,
        std=prepared.std,
    )


def _class_names(engine: Engine) -> list[str]:
    dataset: Any = getattr(engine.train_loader, "dataset", None)
    while hasattr(dataset, "dataset"):  # a Subset
        dataset = dataset.dataset
    recorders = (getattr(one, "target_names", None) for one in engine.callbacks)
    for names in (
        getattr(dataset, "class_names", None) or getattr(dataset, "classes", None),
        get(engine.cfg, "class_name"),
        *recorders,
    ):
        if names and isinstance(names, (Sequence, Mapping)) and not isinstance(names, str):
            return [str(name) for name in names]
    return []
