"""How a program of the user's own prepares its test images, in the names of ``get_transforms``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from basetrainer.callbacks.history.samples import normalisation_of
from basetrainer.config.settings import easy2dict, get
from basetrainer.datasets.transforms import TransformChain

_SIZED = {"Resize": "resize", "CenterCrop": "center_crop"}
_TO_UNIT = frozenset({"ToTensor", "ConvertImageDtype", "ToDtype"})
"""Classes of torchvision that bring pixels to the scale 0 to 1."""

_LEFT_TO_US = frozenset({"PILToTensor", "ToImage", "Normalize"})


@dataclass(frozen=True)
class Preparation:
    """What is done to a test image before the network sees it."""

    transform: Any = None
    """A list of names, as ``test_transform`` has them."""

    mean: list[float] | None = None
    """Of R, G and B, scale 0 to 1; None: not normalised."""

    std: list[float] | None = None
    """Likewise."""

    input_size: list[int] | None = None
    """``[W, H]`` of the images."""


def preparation_of(loader: Any, cfg: Any, input_size: Any) -> Preparation | None:
    """Return how a loader's images are prepared; None if that cannot be told.

    A ``transform`` of the dataset is read if it is made of Resize, CenterCrop, the conversions to
    tensors and Normalize, torchvision's or ours. The settings ``test_transform``, ``rgb_mean`` and
    ``rgb_std`` tell the rest: all of it where the dataset has no ``transform``.

    Args:
        loader: Of test images.
        cfg: The settings.
        input_size: ``[W, H]``, if it is known.
    """
    dataset: Any = getattr(loader, "dataset", None)
    while hasattr(dataset, "dataset"):  # a Subset
        dataset = dataset.dataset
    transform = getattr(dataset, "transform", None)
    if transform is not None and not isinstance(transform, TransformChain):
        return _read(transform)
    names = easy2dict(get(cfg, "test_transform"))
    if names is None and transform is not None:
        names = _names(transform.steps)
        if names is None:
            return None
    found = normalisation_of(loader, cfg)
    if not isinstance(input_size, Sequence) or (found is None and transform is None):
        return None  # the dataset does it all in a way of its own
    mean, std = (None, None) if found is None else map(_numbers, found)
    return Preparation(names, mean, std, [int(one) for one in input_size])


def _read(transform: Any) -> Preparation | None:
    """Return what transforms of torchvision do; None if one of them is not known."""
    steps = getattr(transform, "transforms", None) or [transform]
    names = _names(steps)
    if not names or not any(_is_to_unit(step) for step in steps):
        return None
    mean, std = [0.0] * 3, [1.0] * 3
    for step in steps:
        if type(step).__name__ == "Normalize":
            mean, std = _numbers(step.mean), _numbers(step.std)
    return Preparation(names, mean, std, _size(names[-1])) if len(mean) == 3 else None


def _names(steps: Iterable[Any]) -> list[dict[str, Any]] | None:
    """Return steps by name; None if one of them is not known."""
    names: list[dict[str, Any]] = []
    for step in steps:
        kind = type(step).__name__
        if not type(step).__module__.startswith("torchvision.transforms"):
            return None
        if kind in _SIZED:
            if getattr(step, "max_size", None) is not None or not getattr(step, "antialias", True):
                return None
            names.append({_SIZED[kind]: _arguments(step)})
        elif kind not in _TO_UNIT and kind not in _LEFT_TO_US:
            return None
    return names


def _is_to_unit(step: Any) -> bool:
    kind = type(step).__name__
    return kind in _TO_UNIT and (kind != "ToDtype" or bool(step.scale))


def _arguments(step: Any) -> dict[str, Any]:
    """Return the arguments of a Resize or CenterCrop as a file can hold them."""
    size = step.size if isinstance(step.size, int) else list(step.size)
    arguments: dict[str, Any] = {"size": size}
    mode = getattr(getattr(step, "interpolation", None), "value", "bilinear")
    if mode != "bilinear":
        arguments["interpolation"] = mode
    return arguments


def _size(name: Mapping[str, Any]) -> list[int] | None:
    """Return ``[W, H]`` after a step; None if it leaves the shape of an image."""
    (name_of, arguments), *_ = name.items()
    size = arguments["size"]
    if isinstance(size, int):
        return [size, size] if name_of == "center_crop" else None
    return [size[1], size[0]] if len(size) == 2 else None


def _numbers(values: Any) -> list[float]:
    flat = values.flatten().tolist() if isinstance(values, Tensor) else values
    return [round(float(one), 7) for one in flat]  # of float32: 0.485, not 0.48500001
