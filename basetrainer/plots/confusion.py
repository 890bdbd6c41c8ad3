"""A confusion matrix as a picture: counts, row percentages, names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basetrainer._optional import require
from basetrainer.plots.canvas import new_figure, plain_text, readable

_BOTH = 32
"""Up to how many classes each cell has its count and its percentage."""

_NAMED = 110
"""Up to how many classes each has its name at the sides, and the cells have numbers."""

_MOST_NAMES = 60
"""Names at each side where there are more classes."""

_LONGEST = 24
"""Letters of a name that are shown."""

_LETTER = 0.6 / 72  # width of a letter in inches, per point of its size


def draw_confusion(
    matrix: NDArray[np.integer[Any]], names: Sequence[str], *, title: str = ""
) -> Any:
    """Draw a confusion matrix; colours are shares of a row, so that rare classes are seen too.

    Up to 32 classes each cell tells its count and its share of the row. With more the cells tell
    counts, and the share of hits stands at the end of each row; with more than 110 the colours
    alone speak. The worst confusions are told below in any case.

    Args:
        matrix: Counts, shape ``(C, C)``; row = label, column = prediction.
        names: C class names.
        title: What stands above.

    Returns:
        A matplotlib figure.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [_short(name) for name in readable(names)]
    size = len(counts)
    cell = 0.62 if size <= 12 else 0.48 if size <= _BOTH else max(0.2, 14.0 / size)
    points = min(9.0, 40.0 * cell)
    name_width = _LETTER * points * max(map(len, names))
    is_upright = name_width > 0.9 * cell
    side = max(2.4, cell * size) if size <= _NAMED else 14.0
    told = _worst(counts, shares, names)
    width = side + name_width + 1.5
    # Beside each other if there is room, else below each other.
    worst = ", ".join(told) if _LETTER * 9.0 * len(", ".join(told)) < width else "\n".join(told)
    lines = 0.15 * (1 + worst.count("\n"))
    figure = new_figure(width, side + (name_width if is_upright else 0.15) + 1.0 + lines)
    axes = figure.subplots()
    colors = require("matplotlib.colors", extra="plots", needed_by="Drawing a picture")
    # The root of the share: a confusion of some percent is seen beside hits of ninety.
    image = axes.imshow(shares, cmap="Blues", norm=colors.PowerNorm(0.5, 0.0, 1.0))
    _name_sides(axes, names, points, is_upright=is_upright)
    _tell_cells(axes, counts, shares, cell)
    has_hits = _BOTH < size <= _NAMED
    for row in range(size) if has_hits else ():
        axes.text(size - 0.3, row, _percent(shares[row, row]), fontsize=points, va="center")
    bar = axes.inset_axes((1.02 + (0.4 / side if has_hits else 0.0), 0.0, 0.15 / side, 1.0))
    figure.colorbar(image, cax=bar, ticks=[0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 1.0])
    bar.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    bar.tick_params(labelsize=8)
    axes.set_xlabel(f"prediction\n{worst}", fontsize=9, linespacing=1.6)
    axes.set_ylabel("label", fontsize=9)
    axes.set_title(plain_text(title), fontsize=11)
    return figure


def _name_sides(axes: Any, names: Sequence[str], points: float, *, is_upright: bool) -> None:
    """Write the names at both sides; of very many classes only every so many."""
    size = len(names)
    places = range(0, size, 1 if size <= _NAMED else -(-size // _MOST_NAMES))
    shown = [names[place] for place in places]
    axes.set_xticks(places, shown, rotation=90 if is_upright else 0, fontsize=points)
    axes.set_yticks(places, shown, fontsize=points)
    axes.tick_params(which="both", length=0)
    if size <= _NAMED:  # thin lines between the cells; minor ticks have no other use here
        axes.set_xticks(np.arange(0.5, size - 1), minor=True)
        axes.set_yticks(np.arange(0.5, size - 1), minor=True)
        axes.grid(which="minor", color="0.9", linewidth=0.5)


def _tell_cells(
    axes: Any, counts: NDArray[np.int64], shares: NDArray[np.float64], cell: float
) -> None:
    """Write into the cells what fits there."""
    size = len(counts)
    for row, column in zip(*np.nonzero(counts), strict=True) if size <= _NAMED else ():
        share = float(shares[row, column])
        lines = [str(counts[row, column]), *([_percent(share)] if size <= _BOTH else [])]
        room = 0.85 * cell / (_LETTER * max(map(len, lines)))
        axes.text(
            column,
            row,
            "\n".join(lines),
            ha="center",
            va="center",
            fontsize=min(8.5, room, 40 * cell),
            color="white" if share > 0.3 else "0.15",
            linespacing=1.15,
        )


def _percent(share: float) -> str:
    """Return a share in percent; 100% means all and 0% none."""
    percent = 100.0 * share
    return f"{percent:.0f}%" if percent in (0.0, 100.0) else f"{percent:.1f}%"


def _worst(
    counts: NDArray[np.int64], shares: NDArray[np.float64], names: Sequence[str], most: int = 3
) -> list[str]:
    """Tell the confusions that matter: many samples, and a large share of their class."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-(wrong * shares), axis=None, kind="stable")[:most]
    cells = [divmod(int(place), len(counts)) for place in order]
    return [
        f"{names[row]} taken for {names[column]} ({counts[row, column]})"
        for row, column in cells
        if wrong[row, column] and len(counts) > 2
    ]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."
