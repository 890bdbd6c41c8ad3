"""Normalize: pixels to numbers around zero, one image or a whole batch at a time."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer.errors import ConfigError, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G, B over ImageNet, on the scale 0 to 1; what torchvision's weights expect."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation to :data:`IMAGENET_MEAN`."""


class Normalize(nn.Module):
    """Compute ``(pixel - mean) / std``, on the scale where white is 1.

    uint8 pixels are scaled by 1/255 on the way, floats are taken to be scaled already. Works on one
    image and on a batch, so it may run in the loader or, at a quarter of the traffic between
    processes, where the batch is: it follows the images to their device.

    A tensor is the image itself. In a tuple, list or dict only the images are normalised:
    ``tv_tensors.Image`` if there are any, else the first tensor with three or more dimensions.

    Args:
        mean: One figure per channel, or one for all, 0 to 1.
        std: Likewise, above 0 and at most 1.

    Raises:
        ConfigError: If they are of different length, or on the scale 0 to 255.
    """

    mean: Tensor
    std: Tensor
    mean_255: Tensor
    std_255: Tensor

    def __init__(
        self,
        mean: float | Sequence[float] = IMAGENET_MEAN,
        std: float | Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        channels = max(len(one) if isinstance(one, Sequence) else 1 for one in (mean, std))
        mean, std = (one if isinstance(one, Sequence) else [one] * channels for one in (mean, std))
        _check(mean, std)
        # Not persistent: they are settings, and no checkpoint should miss or carry them.
        for name, column in (("mean", _column(mean)), ("std", _column(std))):
            self.register_buffer(name, column, persistent=False)
            self.register_buffer(f"{name}_255", column * 255, persistent=False)

    def forward(self, *inputs: Any) -> Any:
        """Normalise the images among ``inputs``; the rest passes.

        Args:
            inputs: An image or batch ``(..., C, H, W)``, or a structure that holds some.

        Returns:
            The same structure; images as float32, or as the float type that they had.

        Raises:
            UsageError: If the image is neither uint8 nor float.
        """
        sample = inputs[0] if len(inputs) == 1 else inputs
        if type(sample) is Tensor:
            return self._normalized(sample)
        images = _images(sample)
        return _replaced(sample, {id(image): self._normalized(image) for image in images})

    def _normalized(self, image: Tensor) -> Tensor:
        if image.device != self.mean.device:  # once: the next batch is on the same device
            self.to(image.device)
        if image.dtype == torch.uint8:
            # Decoded images lie channels last: twice as slow here. A batch keeps its layout.
            pixels = image.contiguous() if image.dim() == 3 else image
            scaled = pixels.float().sub_(self.mean_255).div_(self.std_255)
        elif image.is_floating_point():
            scaled = (image - self.mean.to(image.dtype)) / self.std.to(image.dtype)
        else:
            raise UsageError(
                f"Normalize got an image of {image.dtype}: the range of its values is not known. "
                "Give uint8 (0 to 255) or float (0 to 1)."
            )
        if type(image) is Tensor:
            return scaled
        from torchvision import tv_tensors

        wrapped: Tensor = tv_tensors.wrap(scaled, like=image)  # pyright: ignore[reportCallIssue]
        return wrapped

    def extra_repr(self) -> str:
        """Show mean and std."""
        mean, std = ([round(x, 4) for x in v.flatten().tolist()] for v in (self.mean, self.std))
        return f"mean={mean}, std={std}"


def _check(mean: Sequence[float], std: Sequence[float]) -> None:
    if len(mean) != len(std) or not len(mean):
        raise ConfigError(f"mean={mean!r} and std={std!r}: give one figure per channel in both.")
    if max([*mean, *std]) > 1 or min(mean) < 0 or min(std) <= 0:
        raise ConfigError(
            f"mean={list(mean)}, std={list(std)}: both are on the scale 0 to 1, std above 0. "
            "If yours are on the scale 0 to 255, divide them by 255."
        )


def _column(figures: Sequence[float]) -> Tensor:
    return torch.tensor([float(figure) for figure in figures]).view(-1, 1, 1)


def _images(sample: Any) -> list[Tensor]:
    tensors = list(_tensors(sample))
    typed = sys.modules.get("torchvision.tv_tensors")  # not loaded: there can be none of them
    images = [t for t in tensors if typed is not None and isinstance(t, typed.Image)]
    plain = (t for t in tensors if type(t) is Tensor and t.dim() >= 3)
    first = next(plain, None)
    return images or ([] if first is None else [first])


def _tensors(sample: Any) -> Any:
    if isinstance(sample, Tensor):
        yield sample
    elif isinstance(sample, Mapping):
        for value in sample.values():
            yield from _tensors(value)
    elif isinstance(sample, (tuple, list)):
        for value in sample:
            yield from _tensors(value)


def _replaced(sample: Any, by_id: Mapping[int, Tensor]) -> Any:
    if isinstance(sample, Tensor):
        return by_id.get(id(sample), sample)
    if isinstance(sample, dict):
        return {key: _replaced(value, by_id) for key, value in sample.items()}
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*(_replaced(value, by_id) for value in sample))
    if isinstance(sample, (tuple, list)):
        return type(sample)(_replaced(value, by_id) for value in sample)
    return sample
