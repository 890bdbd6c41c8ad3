"""Test images with what they are and what they were taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basetrainer.plots.canvas import new_figure, plain_text, readable

_COLUMNS = 8
_RIGHT, _WRONG = "0.1", "#c0271d"


def draw_samples(
    images: NDArray[np.floating[Any]],
    labels: Sequence[int],
    predicted: Sequence[int],
    names: Sequence[str],
    *,
    title: str = "",
) -> Any:
    """Draw images; above each stands its class, and in red what a wrong one was taken for.

    Args:
        images: Between 0 and 1, shape ``(N, H, W, 3)``, or ``(N, H, W)`` for grey ones.
        labels: N class indices; negative ones have no class.
        predicted: N class indices.
        names: The class names.
        title: What stands above.

    Returns:
        A matplotlib figure.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    names = readable(names)
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(max(1.3 * columns, 4.0), 1.55 * rows + 0.5)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, image, label, guess in zip(grid, images, labels, predicted, strict=False):
        axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        name = names[label] if 0 <= label < len(names) else "?"
        is_right = label == guess
        text = name if is_right else f"{name}\ntaken for {names[guess]}"
        axes.set_title(text, fontsize=8, color=_RIGHT if is_right else _WRONG)
    figure.suptitle(plain_text(title), fontsize=11)
    return figure
