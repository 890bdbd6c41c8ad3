"""2x3 matrices that move points and boxes, and Letterbox.

Coordinates are continuous: pixel i covers i to i + 1, so a resize by s takes x to s * x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from basetrainer.errors import ConfigError

Matrix = NDArray[np.float64]


def identity() -> Matrix:
    """Return the matrix that moves nothing, shape ``(2, 3)``."""
    return np.eye(2, 3)


def scaling(x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> Matrix:
    """Return the matrix of ``x * sx + dx, y * sy + dy``."""
    return np.array([[x, 0.0, dx], [0.0, y, dy]])


def then(first: Matrix, second: Matrix) -> Matrix:
    """Return the matrix that moves by ``first``, and then by ``second``."""
    return np.asarray((_square(second) @ _square(first))[:2])


def inverse(matrix: Matrix) -> Matrix:
    """Return the matrix that moves back.

    Raises:
        ValueError: If there is none, since the matrix makes a line of the plane.
    """
    try:
        back: NDArray[Any] = np.linalg.inv(_square(matrix))
    except np.linalg.LinAlgError:
        raise ValueError(f"{matrix.tolist()} cannot be inverted") from None
    return back[:2]


def apply_points(matrix: Matrix, points: NDArray[Any]) -> NDArray[np.float64]:
    """Return points moved by a matrix; shape ``(..., 2)``."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def apply_boxes(matrix: Matrix, boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the boxes around boxes that were moved by a matrix; ``x1, y1, x2, y2``, ``(N, 4)``.

    Exact as long as the matrix does not rotate.
    """
    x, y = boxes[:, [0, 2, 2, 0]], boxes[:, [1, 1, 3, 3]]
    moved = apply_points(matrix, np.stack([x, y], axis=-1))
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).reshape(-1, 4)


class Letterbox(nn.Module):
    """Resize an image to fit into a size, keep its proportions, and pad the rest.

    Takes an image, uint8 of shape ``(C, H, W)``, or ``(image, target)`` with a dict whose
    ``boxes`` and ``mask`` move along; ``matrix``, which leads from the original to the image,
    is multiplied.

    Args:
        size: ``[W, H]`` in pixels.
        fill: The value of the padding.
        mask_fill: The class of the padding in masks.
        place: Where the image goes: ``center``, or ``corner`` (padding at right and below).
        enlarge: Whether images smaller than the size are enlarged.

    Raises:
        ConfigError: If the size or the place is wrong.
    """

    is_deterministic = True

    def __init__(
        self,
        size: Sequence[int],
        fill: int = 114,
        *,
        mask_fill: int = 255,
        place: str = "center",
        enlarge: bool = True,
    ) -> None:
        super().__init__()
        if len(size) != 2 or min(size) < 1:
            raise ConfigError(f"letterbox: size {size!r}: give [W, H], two numbers of pixels.")
        if place not in ("center", "corner"):
            raise ConfigError(f"letterbox: place {place!r} must be center or corner.")
        self.size = (int(size[0]), int(size[1]))
        self.fill = fill
        self.mask_fill = mask_fill
        self.place = place
        self.enlarge = enlarge

    def layout(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return where an image of a size goes: ``left, top, width, height`` in pixels."""
        scale = min(self.size[0] / width, self.size[1] / height)
        scale = scale if self.enlarge else min(scale, 1.0)
        inner = [
            max(1, min(round(side * scale), most))
            for side, most in zip((width, height), self.size, strict=True)
        ]
        if self.place == "corner":
            return 0, 0, inner[0], inner[1]
        return (self.size[0] - inner[0]) // 2, (self.size[1] - inner[1]) // 2, inner[0], inner[1]

    def matrix(self, width: int, height: int) -> Matrix:
        """Return the matrix from an image of a size to the letterbox."""
        left, top, inner_width, inner_height = self.layout(width, height)
        return scaling(inner_width / width, inner_height / height, left, top)

    def forward(self, *inputs: Any) -> Any:
        """Return the image, or image and target, in the letterbox."""
        sample = inputs[0] if len(inputs) == 1 else inputs
        if isinstance(sample, Tensor):
            return self._placed(sample, self.fill, "bilinear")
        image, target = sample
        height, width = image.shape[-2:]
        matrix = self.matrix(width, height)
        return self._placed(image, self.fill, "bilinear"), self._moved(target, matrix)

    def _moved(self, target: dict[str, Any], matrix: Matrix) -> dict[str, Any]:
        from torchvision import tv_tensors

        moved = dict(target)
        if "boxes" in target:
            boxes = apply_boxes(matrix, target["boxes"].double().numpy())
            moved["boxes"] = tv_tensors.BoundingBoxes(  # pyright: ignore[reportCallIssue] # it has __new__
                torch.from_numpy(boxes).to(torch.float32),
                format="XYXY",
                canvas_size=(self.size[1], self.size[0]),
            )
        if "mask" in target:
            mask = self._placed(target["mask"][None], self.mask_fill, "nearest-exact")[0]
            moved["mask"] = tv_tensors.Mask(mask)
        if "matrix" in target:
            whole = then(target["matrix"].numpy(), matrix)
            moved["matrix"] = torch.from_numpy(whole)
        return moved

    def _placed(self, image: Tensor, fill: int, mode: str) -> Tensor:
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as v2

        height, width = image.shape[-2:]
        left, top, inner_width, inner_height = self.layout(width, height)
        plain = image.as_subclass(Tensor)
        if (inner_width, inner_height) != (width, height):
            interpolation = InterpolationMode(mode)
            plain = v2.resize(plain, [inner_height, inner_width], interpolation)
        if (inner_width, inner_height) == self.size:
            return plain
        canvas = torch.full((*image.shape[:-2], *self.size[::-1]), fill, dtype=image.dtype)
        canvas[..., top : top + inner_height, left : left + inner_width] = plain
        return canvas


def _square(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])
