"""The form of a batch: images of one size, and targets by the rule of their task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from basetrainer.errors import UsageError

Item: TypeAlias = tuple[Tensor, dict[str, Any]]
Collate: TypeAlias = Callable[[list[Item]], tuple[Tensor, Any]]


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Return images of one size as a batch, shape ``(N, C, H, W)``.

    Raises:
        UsageError: If they differ in size.
    """
    sizes = {tuple(image.shape[-2:]) for image in images}
    if len(sizes) > 1:
        height, width = max(sizes)
        raise UsageError(
            f"The images of a batch have {len(sizes)} sizes, up to {width}x{height}. End the "
            "transforms with a step that gives one size, such as letterbox or resize."
        )
    return torch.stack([image.as_subclass(Tensor) for image in images])


def collate_lists(items: list[Item]) -> tuple[Tensor, list[dict[str, Any]]]:
    """Return ``(images, targets)`` with a dict of plain tensors an image; for boxes."""
    images, targets = zip(*items, strict=True)
    return stack_images(images), [_plain(target) for target in targets]


def collate_masks(items: list[Item]) -> tuple[Tensor, Tensor]:
    """Return ``(images, masks)``: masks uint8, shape ``(N, H, W)``."""
    images, targets = zip(*items, strict=True)
    return stack_images(images), torch.stack([_plain(target)["mask"] for target in targets])


def collate_dicts(items: list[Item]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return ``(images, targets)`` with a dict of stacked tensors; for targets of one shape."""
    images, targets = zip(*items, strict=True)
    plain = [_plain(target) for target in targets]
    return stack_images(images), {
        key: torch.stack([torch.as_tensor(target[key]) for target in plain]) for key in plain[0]
    }


def _plain(target: dict[str, Any]) -> dict[str, Any]:
    """Return a target without torchvision's kinds of tensors, which slow each operation down."""
    return {
        key: value.as_subclass(Tensor) if isinstance(value, Tensor) else value
        for key, value in target.items()
    }
