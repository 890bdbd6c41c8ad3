"""Test images as a picture: what they are and what they were taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basetrainer.plots.canvas import new_figure, plain_text, readable

_COLUMNS = 4
_SIDE = 1.6  # of an image, in inches
_COLORS = ("0.1", "#c0271d")  # right and wrong


def draw_samples(
    images: Sequence[NDArray[np.floating[Any]]],
    labels: Sequence[int],
    predicted: Sequence[int],
    names: Sequence[str],
    *,
    title: str = "",
) -> Any:
    """Draw images; above each stands its class, and in red what a wrong one was taken for.

    Args:
        images: N of them, between 0 and 1, each of shape ``(H, W, 3)``, or ``(H, W, 1)`` if grey.
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
    figure = new_figure(max(_SIDE * columns, 4.0), (_SIDE + 0.35) * rows + 0.4)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in places:
        axes.set_axis_off()
    for axes, image, label, guess in zip(places, images, labels, predicted, strict=False):
        axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        lines = [names[label] if 0 <= label < len(names) else "?"]
        if label != guess:
            lines.append(f"taken for {names[guess]}")
        size = min(11.0, _SIDE * 72 / (0.6 * max(map(len, lines))))
        axes.set_title("\n".join(lines), fontsize=size, color=_COLORS[len(lines) - 1])
    figure.suptitle(plain_text(title), fontsize=12)
    return figure
