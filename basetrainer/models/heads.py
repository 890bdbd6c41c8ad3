"""The classifier at the end of a network: find it, replace it, take it off."""

from __future__ import annotations

from typing import Any

from torch import nn

from basetrainer.errors import ConfigError


def find_head(model: nn.Module) -> str:
    """Return the dotted name of the last ``Linear`` or ``Conv2d``, the one that tells classes.

    Raises:
        ConfigError: If there is none.
    """
    found: list[str] = [name for name, one in model.named_modules() if _outputs(one) is not None]
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no Linear or Conv2d layer, so no classifier was found."
        )
    return found[-1]


def replace_head(model: nn.Module, num_classes: int | None) -> int:
    """Give a classification network another number of classes, in place.

    Auxiliary classifiers (layers with as many outputs below a module called ``aux...``) get the
    same number. New layers are initialised as torch does.

    Args:
        model: A network whose last ``Linear`` or ``Conv2d`` is its classifier.
        num_classes: Classes; None leaves the features: the classifier becomes an ``Identity``.

    Returns:
        How many features the classifier got, also kept as ``model.num_features``.

    Raises:
        ConfigError: If no classifier is found.
    """
    name = find_head(model)
    last = model.get_submodule(name)
    is_linear = isinstance(last, nn.Linear)
    features = int(last.in_features if is_linear else last.in_channels)  # type: ignore[arg-type]
    for other, module in list(model.named_modules()):
        is_auxiliary = other.lower().startswith("aux") and _outputs(module) == _outputs(last)
        if other == name or is_auxiliary:
            model.set_submodule(other, _like(module, num_classes))
    if hasattr(model, "num_classes"):
        # Some networks say it again; others, of old, reshape their output by it.
        model.num_classes = num_classes  # type: ignore[assignment]
    model.num_features = features  # type: ignore[assignment] # a number, no tensor or module
    return features


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None


def _like(module: Any, num_classes: int | None) -> nn.Module:
    """Return a ``Linear`` or ``Conv2d`` like ``module`` with other outputs, on its device."""
    if num_classes is None:
        return nn.Identity()
    place = {"device": module.weight.device, "dtype": module.weight.dtype}
    has_bias = module.bias is not None
    if isinstance(module, nn.Linear):
        return nn.Linear(module.in_features, num_classes, has_bias, **place)
    return nn.Conv2d(
        module.in_channels,
        num_classes,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        bias=has_bias,
        **place,
    )
