"""Transforms of torchvision v2 by name, as configuration files give them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn

from basetrainer._names import lookup
from basetrainer.datasets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from basetrainer.errors import ConfigError

Entry: TypeAlias = "str | Mapping[str, Mapping[str, Any] | None]"
Names: TypeAlias = "Entry | Sequence[Entry] | None"
"""``"train"``, or ``["resize", {"rotation": {"degrees": 15}}]``: names, or name -> arguments."""

Step: TypeAlias = tuple[str, dict[str, Any]]

_OF_SIZE = "size"  # steps that bring any image to the input size

STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "resize": ("Resize", {_OF_SIZE: None}),
    "center_crop": ("CenterCrop", {_OF_SIZE: None}),
    "random_crop": ("RandomCrop", {_OF_SIZE: None, "pad_if_needed": True}),
    "random_resized_crop": ("RandomResizedCrop", {_OF_SIZE: None}),
    "pad": ("Pad", {"padding": 4}),
    "flip": ("RandomHorizontalFlip", {}),
    "vertical_flip": ("RandomVerticalFlip", {}),
    "rotation": ("RandomRotation", {"degrees": 10}),
    "affine": ("RandomAffine", {"degrees": 10, "translate": (0.1, 0.1), "scale": (0.9, 1.1)}),
    "perspective": ("RandomPerspective", {}),
    "elastic": ("ElasticTransform", {}),
    "zoom_out": ("RandomZoomOut", {}),
    "iou_crop": ("RandomIoUCrop", {}),
    "color_jitter": ("ColorJitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}),
    "photometric_distort": ("RandomPhotometricDistort", {}),
    "grayscale": ("RandomGrayscale", {}),
    "invert": ("RandomInvert", {}),
    "posterize": ("RandomPosterize", {"bits": 4}),
    "solarize": ("RandomSolarize", {"threshold": 128}),
    "sharpness": ("RandomAdjustSharpness", {"sharpness_factor": 2}),
    "autocontrast": ("RandomAutocontrast", {}),
    "equalize": ("RandomEqualize", {}),
    "blur": ("GaussianBlur", {"kernel_size": 5}),
    "erasing": ("RandomErasing", {}),
    "rand_augment": ("RandAugment", {}),
    "trivial_augment": ("TrivialAugmentWide", {}),
    "auto_augment": ("AutoAugment", {}),
    "aug_mix": ("AugMix", {}),
    "clamp_boxes": ("ClampBoundingBoxes", {}),
    "sanitize_boxes": ("SanitizeBoundingBoxes", {}),
}
"""Name -> class of ``torchvision.transforms.v2`` and our defaults; the class's name works too."""

_DRAW_NOTHING = frozenset(
    {"PILToTensor", "Resize", "CenterCrop", "Pad"} | {"ClampBoundingBoxes", "SanitizeBoundingBoxes"}
)
"""Classes of torchvision v2 that the steps may be and that make of one image always the same."""

_CROP: list[Entry] = [{"random_resized_crop": {"scale": (0.5, 1.0)}}, "flip"]

PRESETS: dict[str, list[Entry]] = {
    "train": [*_CROP, "color_jitter"],
    "test": ["resize"],
    "rand_augment": [*_CROP, "rand_augment"],
    "trivial_augment": [*_CROP, "trivial_augment"],
    "auto_augment": [*_CROP, "auto_augment"],
    "aug_mix": [*_CROP, "aug_mix"],
}
"""What a name means that stands alone; "train" and "test" in a list too."""

MIXES: dict[str, str] = {"mixup": "MixUp", "cutmix": "CutMix"}
"""Names that mix whole samples of a batch; :func:`basetrainer.datasets.mixing.get_collate`."""


class TransformChain(nn.Module):
    """Transforms in order, the normalisation last.

    Takes what torchvision's v2 transforms take: an image, or a tuple, list or dict with an image,
    boxes, masks and labels (which the four automatic policies, ``rand_augment`` and its like,
    refuse: their choice of operations is for classes). A Pillow image becomes a uint8 tensor first.

    Args:
        steps: The transforms.
        normalize: What comes last; None leaves uint8.
    """

    def __init__(self, steps: Sequence[nn.Module], normalize: Normalize | None = None) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.normalize = normalize

    def forward(self, *inputs: Any) -> Any:
        """Transform a sample; several arguments are taken as a tuple."""
        sample = inputs[0] if len(inputs) == 1 else inputs
        for step in self.steps:
            sample = step(sample)
        return sample if self.normalize is None else self.normalize(sample)

    @property
    def is_deterministic(self) -> bool:
        """Whether nothing is drawn, so that no generator need be seeded for it."""
        return all(
            type(step).__name__ in _DRAW_NOTHING
            and type(step).__module__.startswith("torchvision.transforms.v2")
            for step in self.steps
        )

    def split(self) -> tuple[TransformChain, Normalize | None]:
        """Return the chain without normalisation, for the loader, and it, for the batch."""
        return TransformChain(list(self.steps)), self.normalize


def get_transforms(
    names: Names = None,
    input_size: int | Sequence[int] | None = None,
    *,
    train: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    normalize: bool = True,
) -> TransformChain:
    """Build transforms by name.

    All steps work on uint8 and the normalisation comes last, so the dear part is cheap; whoever
    wants it on the batch calls :meth:`TransformChain.split`. A list without a step that gives the
    images one size begins with ``resize``, to exactly ``input_size``.

    Args:
        names: A name, a list of names, or of ``{name: {argument: value}}``: the keys of
            :data:`STEPS` or torchvision's class names in any letter case, with torchvision's
            arguments (whose sizes are ``[H, W]``). Alone, a name of :data:`PRESETS` means that
            preset. "mixup" and "cutmix" are left to ``get_collate``. None, or nothing but mixes:
            "train" or "test"; an empty list is no step but the resize.
        input_size: ``[W, H]`` in pixels, as in configuration files, or one number for both; None
            leaves sizes alone.
        train: Whether it is for training; chooses what ``None`` means.
        mean: Of R, G and B, or one for all, scale 0 to 1; None is that of ImageNet.
        std: Likewise.
        normalize: Whether to; else the images stay uint8.

    Returns:
        A module that pickles: uint8 image ``(3, H, W)`` -> float32 ``(3, H, W)``.

    Raises:
        UnknownNameError: If a name is not known; suggests the nearest.
        ConfigError: If an argument does not fit its transform, or samples are mixed in a test.
    """
    from torchvision.transforms import v2

    size = _size(input_size)
    asked = read_names(names)
    steps = [step for step in asked if step[0] not in MIXES]
    if not train and len(steps) < len(asked):
        raise ConfigError(
            f"Transforms {names!r} mix samples and their labels; that is for training only. "
            f"Remove {' and '.join(MIXES)} from the test transforms."
        )
    if names is None or (asked and not steps):
        steps = read_names("train" if train else "test")
    if size is not None and not any(_OF_SIZE in STEPS[name][1] for name, _ in steps):
        steps.insert(0, ("resize", {}))
    modules = [_build(name, arguments, size) for name, arguments in steps]
    last = _normalize(mean, std) if normalize else None
    return TransformChain([v2.PILToTensor(), *modules], last)


def _normalize(
    mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> Normalize:
    made = Normalize(IMAGENET_MEAN if mean is None else mean, IMAGENET_STD if std is None else std)
    if len(made.mean) not in (1, 3):
        raise ConfigError(
            f"mean={mean!r}, std={std!r}: images are RGB, give three figures each, or one for all."
        )
    return made


def read_names(names: Names) -> list[Step]:
    """Return the steps that a configuration asks for, presets unfolded, names in our spelling.

    Raises:
        UnknownNameError: If a name is not known.
        ConfigError: If an entry is neither a name nor one name with arguments.
    """
    if names is None:
        return []
    if isinstance(names, str):
        name = _canonical(names)
        return read_names(PRESETS[name]) if name in PRESETS else [(name, {})]
    if isinstance(names, Mapping):
        names = [{name: arguments} for name, arguments in names.items()]
    if not isinstance(names, Sequence):
        raise ConfigError(
            f"Transforms {names!r}: write a name, or a list of names, as in [resize, flip]."
        )
    steps: list[Step] = []
    for entry in names:
        if isinstance(entry, str):
            name, arguments = _canonical(entry), None
        elif isinstance(entry, Mapping) and len(entry) == 1:
            written, arguments = next(iter(entry.items()))
            name = _canonical(written)
        else:
            raise ConfigError(
                f"Transform {entry!r}: write a name, or one name with its arguments, as in "
                "{rotation: {degrees: 15}}."
            )
        if not isinstance(arguments, (Mapping, type(None))):
            raise ConfigError(
                f"Transform {name!r} has {arguments!r} for arguments: name them, as in "
                "{rotation: {degrees: 15}}."
            )
        if name in PRESETS and name not in STEPS:
            if arguments:
                raise ConfigError(f"Transform {name!r} is a list of others: it has no arguments.")
            steps += read_names(PRESETS[name])
        else:
            steps.append((name, dict(arguments or {})))
    return steps


def _canonical(name: object) -> str:
    """Return our spelling of a name: ``RandAugment`` and ``rand-augment`` are rand_augment."""
    known = {_squashed(key): key for key in (*STEPS, *PRESETS, *MIXES)}
    for key, (class_name, _) in STEPS.items():
        known[_squashed(class_name)] = known[_squashed(class_name.removeprefix("Random"))] = key
    squashed = _squashed(str(name))
    if squashed in known:
        return known[squashed]
    if squashed in ("totensor", "toimage", "piltotensor", "todtype", "normalize"):
        raise ConfigError(
            f"Transform {name!r} is done in any case: images become tensors first and are "
            f"normalised last, by mean and std (rgb_mean, rgb_std). Leave it out."
        )
    return lookup("transform", str(name), {key: key for key in (*STEPS, *PRESETS, *MIXES)})


def _squashed(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _size(input_size: int | Sequence[int] | None) -> list[int] | None:
    if input_size is None:
        return None
    if isinstance(input_size, int):
        input_size = [input_size, input_size]
    if len(input_size) != 2 or not all(isinstance(n, int) and n > 0 for n in input_size):
        raise ConfigError(f"input_size={input_size!r}: give [W, H], two numbers of pixels.")
    width, height = input_size
    return [height, width]


def _build(name: str, arguments: dict[str, Any], size: list[int] | None) -> nn.Module:
    from torchvision.transforms import v2

    class_name, defaults = STEPS[name]
    arguments = {**defaults, **arguments}
    if _OF_SIZE in defaults and arguments[_OF_SIZE] is None:
        if size is None:
            raise ConfigError(f"Transform {name!r} needs a size: give it one, or input_size.")
        arguments[_OF_SIZE] = size
    kind = getattr(v2, class_name)
    try:
        if isinstance(arguments.get("interpolation"), str):
            arguments["interpolation"] = v2.InterpolationMode(arguments["interpolation"])
        built: nn.Module = kind(**arguments)
    except (TypeError, ValueError) as error:
        parameters = ", ".join(inspect.signature(kind).parameters)
        raise ConfigError(
            f"Transform {name!r} does not take {arguments!r}: {error}. Its arguments: {parameters}."
        ) from error
    return built
