"""The classification networks of torchvision, by name, with what each needs to be built."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from torch import nn

from basetrainer._names import lookup
from basetrainer.errors import ConfigError

_WIDTHS = {
    "mnasnet": {0.5: "mnasnet0_5", 0.75: "mnasnet0_75", 1.0: "mnasnet1_0", 1.3: "mnasnet1_3"},
    "shufflenet_v2": {
        0.5: "shufflenet_v2_x0_5",
        1.0: "shufflenet_v2_x1_0",
        1.5: "shufflenet_v2_x1_5",
        2.0: "shufflenet_v2_x2_0",
    },
}
"""Families whose width is part of the name."""

_ANY_WIDTH = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")

_DEFAULTS: dict[str, dict[str, Any]] = {
    # Auxiliary outputs would make the output a tuple, which no ordinary loss takes. The input is
    # renormalised whether or not weights are loaded, so that a model trained from them is the same
    # network when its own file is loaded later. Saying init_weights keeps torchvision from warning.
    "googlenet": {"aux_logits": False, "init_weights": True, "transform_input": True},
    "inception_v3": {"aux_logits": False, "init_weights": True, "transform_input": True},
}


@dataclass(frozen=True)
class Network:
    """A network of torchvision, still to be built."""

    name: str
    """Its name in torchvision."""

    options: dict[str, Any] = field(default_factory=dict)
    """What its builder gets besides the number of classes."""

    has_own_width: bool = False
    """Whether its width is one that no pretrained weights are for."""

    def build(self, num_classes: int | None) -> nn.Module:
        """Build it with random weights; ``None`` classes are torchvision's thousand.

        Raises:
            ConfigError: If its builder refuses the options.
        """
        from torchvision import models

        classes = {} if num_classes is None else {"num_classes": num_classes}
        try:
            model: nn.Module = models.get_model(self.name, weights=None, **classes, **self.options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"torchvision cannot build {self.name!r}: {error}.") from error
        return model


def known_names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    from torchvision import models

    return list(models.list_models(module=models))


def find_network(
    net_type: str, width_mult: float, image_size: tuple[int, int] | None, options: dict[str, Any]
) -> Network:
    """Return the network of that name and width.

    Args:
        net_type: The name, in any letter case; ``mnasnet`` and ``shufflenet_v2`` stand for the
            member of their family that has the width.
        width_mult: Number of channels over that of the plain network.
        image_size: Width and height of the images.
        options: More for torchvision's builder.

    Raises:
        UnknownNameError: If torchvision has no such network.
        ConfigError: If it has no such width, or does not take such images.
    """
    if not isinstance(width_mult, Real) or not width_mult > 0:
        raise ConfigError(f"width_mult={width_mult!r} is no number above 0. Write 1.0.")
    name = net_type.lower()
    for family, members in _WIDTHS.items():
        if name in (family, members[1.0]):
            name = _of_width(net_type, width_mult, members)
            width_mult = 1.0
    name = lookup("net_type", name, {known: known for known in [*known_names(), *_WIDTHS]})
    options = {**_DEFAULTS.get(name, {}), **_sized(name, image_size), **options}
    if width_mult != 1.0:
        if name not in _ANY_WIDTH:
            raise ConfigError(
                f"width_mult={width_mult}: {net_type!r} has one width only. Write 1.0, or take one "
                f"of {', '.join([*_ANY_WIDTH, *_WIDTHS])}."
            )
        options["width_mult"] = width_mult
    return Network(name, options, has_own_width=width_mult != 1.0)


def _of_width(net_type: str, width_mult: float, members: dict[float, str]) -> str:
    """Return the member of a family that has the width."""
    if width_mult not in members:
        raise ConfigError(
            f"width_mult={width_mult}: {net_type!r} comes in the widths "
            f"{', '.join(str(width) for width in members)}. Write one of them."
        )
    return members[width_mult]


def _sized(name: str, image_size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the options of a network that is made for one size of image."""
    if image_size is None:
        return {}
    width, height = image_size
    if name.startswith("maxvit"):
        return {"input_size": (height, width)}
    if name.startswith("vit_"):
        patch = int(name.rpartition("_")[2])
        if width != height or width % patch:
            raise ConfigError(
                f"input_size={list(image_size)}: {name!r} cuts images into patches of {patch} and "
                f"takes squares alone. Write [W, W] with W a multiple of {patch}."
            )
        return {"image_size": width}
    return {}
