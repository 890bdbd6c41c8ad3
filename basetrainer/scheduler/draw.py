"""The learning rates of a run, as numbers and as a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from basetrainer._epochs import epoch_number
from basetrainer.config.values import as_int
from basetrainer.errors import ConfigError
from basetrainer.plots.canvas import new_figure, save
from basetrainer.scheduler.scheduler import LRScheduler


def lr_curve(
    scheduler: LRScheduler, num_epochs: int | None = None, *, accumulate_steps: int = 1
) -> list[float]:
    """Return the learning rate of every update of a run, for a group of ratio 1.

    Nothing is trained and the optimizer is not touched. ``plateau`` is drawn as if every
    evaluation made progress.

    Args:
        scheduler: What :func:`~basetrainer.scheduler.build_scheduler.get_scheduler` returns.
        num_epochs: Epochs to compute; those of the scheduler by default.
        accumulate_steps: Batches per update.

    Raises:
        ConfigError: If the number of epochs is not known.
    """
    num_epochs = scheduler.num_epochs if num_epochs is None else num_epochs
    if num_epochs is None:
        raise ConfigError(
            f"{type(scheduler).__name__} does not know how long the run is. Pass num_epochs."
        )
    accumulate = as_int("accumulate_steps", accumulate_steps, minimum=1)
    updates = math.ceil(scheduler.num_steps / accumulate)
    return [
        scheduler.lr_init * scheduler.factor(epoch + update / updates)
        for epoch in range(num_epochs)
        for update in range(updates)
    ]


def draw_lr(
    curves: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str],
    *,
    updates_per_epoch: int = 1,
    title: str = "Learning rate",
    log_scale: bool = False,
    size: tuple[float, float] = (7.0, 3.5),
) -> Path:
    """Draw curves of :func:`lr_curve` over the epochs into one picture and return its path.

    Args:
        curves: Learning rates of every update, by the name in the legend.
        path: The file, whose ending says the format (``lr.png``); its folder is made.
        updates_per_epoch: How many values make an epoch.
        title: What stands above.
        log_scale: Whether the learning rate's axis is logarithmic.
        size: Width and height of the picture, in inches of 110 pixels.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        ConfigError: If it cannot write the format, or the folder cannot be made.
    """
    figure = new_figure(*size)
    axes = figure.subplots()
    for name, curve in curves.items():
        times = [epoch_number(0) + index / updates_per_epoch for index in range(len(curve))]
        axes.plot(times, curve, label=name, linewidth=1.5, drawstyle="steps-post")
    axes.set(xlabel="beginning of epoch", ylabel="learning rate", title=title)
    if log_scale:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        # Below the axes, where it hides no curve.
        figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return save(figure, path)
