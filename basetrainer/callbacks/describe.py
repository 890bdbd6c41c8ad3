"""Describe the best weights of a run, for whoever uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.samples import normalisation_of
from basetrainer.checkpoint.sidecar import Sidecar
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.engine import Engine
from basetrainer.models.structure import network_of
from basetrainer.utils.config_dict import easy2dict, get


def describe(engine: Engine, weights: Path, epoch: int, indicator: str, figure: float) -> Sidecar:
    """Return the sidecar of a file of weights that was just written.

    The classes are those of the training data, of the setting ``class_name`` or of a recorder;
    the normalisation is that of the data's transform, or ``rgb_mean`` and ``rgb_std``.
    """
    cfg = engine.cfg
    net = network_of(unwrap(engine.model))
    size = net.get("input_size") or get(cfg, "input_size")
    found = normalisation_of(engine.test_loader or engine.train_loader, cfg)
    mean, std = (None, None) if found is None else map(_numbers, found)
    return Sidecar(
        weights=weights.name,
        epoch=epoch,
        indicator=indicator,
        figure=figure,
        are_averaged=isinstance(getattr(engine.test_weights, "__self__", None), EMA),
        net=net,
        class_names=_class_names(engine),
        input_size=[int(one) for one in size] if isinstance(size, Sequence) else None,
        transform=easy2dict(get(cfg, "test_transform")),
        mean=mean,
        std=std,
    )


def _numbers(values: Any) -> list[float]:
    flat = values.flatten().tolist() if isinstance(values, Tensor) else values
    return [round(float(one), 7) for one in flat]  # of float32: 0.485, not 0.48500001


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
