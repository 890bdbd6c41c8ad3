"""Old door: curves in a window of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basetrainer._optional import require
from basetrainer.errors import ConfigError

__all__ = ["plot_multi_line"]


def plot_multi_line(
    x_data_list: Sequence[Sequence[float]],
    y_data_list: Sequence[Sequence[float]],
    line_names: Sequence[str] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> Any:
    """Draw curves into one figure, show it and return it.

    Args:
        x_data_list: The x values of each curve.
        y_data_list: The y values of each curve.
        line_names: What the legend calls each; without them there is no legend.
        title: What stands above.
        xlabel: What stands below.
        ylabel: What stands beside.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        ConfigError: If the lists are of different lengths.
    """
    names = list(line_names) if line_names else [""] * len(x_data_list)
    if not len(x_data_list) == len(y_data_list) == len(names):
        raise ConfigError(
            f"plot_multi_line got {len(x_data_list)} lists of x, {len(y_data_list)} of y and "
            f"{len(names)} names: give as many of each."
        )
    pyplot = require("matplotlib.pyplot", extra="plots", needed_by="plot_multi_line")
    figure, axes = pyplot.subplots(figsize=(8.0, 6.0), layout="constrained")
    for x, y, name in zip(x_data_list, y_data_list, names, strict=True):
        axes.plot(x, y, label=name, linewidth=2)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    if line_names:
        axes.legend()
    pyplot.show()
    return figure
