"""FixedSteps: the beginning of a transform that draws nothing, so that its result can be kept."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from basetrainer.datasets.transforms import TransformChain

_PER_CROP = 2
"""Shorter side of a kept image over the larger side of the crops that are resized from it: a crop
of a fourth of the area still has all its pixels."""

_WHOLE = "as decoded"


class FixedSteps:
    """What is done to an image before it is kept, and what a transform has left to do after.

    - A transform that begins with ``resize`` or ``center_crop``: these steps. Nothing changes.
    - One that begins with ``random_resized_crop``: the image is shrunk, its proportions kept, until
      its shorter side is twice the crop's larger one. Crops then come out of a smaller image.
    - Any other, also one that is not of ``get_transforms``: nothing; it may count on real pixels.

    Args:
        transform: Of uint8 images ``(3, H, W)``.
        size: Pixels that the shorter side is shrunk to in the two cases that keep no result of a
            ``resize``; 0 shrinks nothing, None is as above.

    Attributes:
        name: The steps in words; tells kept images apart.
        is_exact: Whether the samples are those that there are without it.
    """

    def __init__(self, transform: Any, size: int | None = None) -> None:
        self._size = size
        self._steps, rest = _split(transform)
        self.is_exact = True
        self.name = ", ".join(map(repr, self._steps)) or _WHOLE
        shorter = _size_for(transform) if size is None else size
        if not self._steps and shorter:
            self._steps = [_Shrink(shorter)]
            self.is_exact = False
            self.name = f"shorter side {shorter} at most"
        self._last: tuple[Any, tuple[bool, Any]] = (transform, (True, rest))

    @property
    def num_pixels(self) -> int:
        """Of each result; 0 if that depends on the image."""
        size: Any = getattr(self._steps[-1], "size", ()) if self._steps else ()
        return int(size[0] * size[1]) if isinstance(size, (list, tuple)) and len(size) == 2 else 0

    def __call__(self, image: Tensor) -> Tensor:
        """Return what is kept of a decoded image."""
        for step in self._steps:
            image = step(image)
        return image

    def rest_of(self, transform: Any) -> tuple[bool, Any]:
        """Return whether the results are right for a transform, and what it does to them.

        It may be another than the one that the steps are of: one of which they would be, too.
        """
        if self._last[0] is not transform:
            others = FixedSteps(transform, self._size)
            serves = self.name in (others.name, _WHOLE)
            rest = others._last[1][1] if others.name == self.name else transform
            self._last = (transform, (serves, rest))
        return self._last[1]


class _Shrink(nn.Module):
    """Bring the shorter side to ``size`` pixels, unless it is shorter already."""

    def __init__(self, shorter: int) -> None:
        super().__init__()
        from torchvision.transforms import v2

        self._shorter = shorter
        self._resize = v2.Resize([shorter])

    def forward(self, image: Tensor) -> Tensor:
        """Return the image, its proportions kept."""
        shrunk: Tensor = self._resize(image) if min(image.shape[1:]) > self._shorter else image
        return shrunk


def _split(transform: Any) -> tuple[list[nn.Module], Any]:
    """Return the steps at the beginning that are kept, and the transform after them."""
    if not isinstance(transform, TransformChain):
        return [], transform
    from torchvision.transforms import v2

    steps = _of_tensors(transform)
    fixed: list[nn.Module] = []
    while steps and type(steps[0]) in (v2.Resize, v2.CenterCrop):
        fixed.append(steps.pop(0))
    if not fixed:
        return [], transform
    return fixed, TransformChain(steps, transform.normalize)


def _size_for(transform: Any) -> int:
    """Return the shorter side that serves a resized crop; 0 for other transforms."""
    if not isinstance(transform, TransformChain):
        return 0
    from torchvision.transforms import v2

    steps = _of_tensors(transform)
    kinds = [type(one) for one in steps]
    return _PER_CROP * max(steps[0].size) if kinds[:1] == [v2.RandomResizedCrop] else 0


def _of_tensors(chain: TransformChain) -> list[Any]:
    """Return the steps of a chain without the one that makes tensors of Pillow images."""
    from torchvision.transforms import v2

    steps = list(chain.steps)
    return steps[1:] if steps and isinstance(steps[0], v2.PILToTensor) else steps
