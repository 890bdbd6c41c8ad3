"""The networks of timm, by ``timm/NAME``, and the ResNeSts, which only timm has."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from torch import nn

from basetrainer._names import nearest
from basetrainer._optional import require
from basetrainer.errors import ConfigError, UnknownNameError
from basetrainer.models.finetune import finetune
from basetrainer.models.stems import shrink_stem

logger = logging.getLogger(__name__)

_RESNEST = {
    "resnest14": "resnest14d",
    "resnest26": "resnest26d",
    "resnest50": "resnest50d",
    "resnest101": "resnest101e",
    "resnest200": "resnest200e",
    "resnest269": "resnest269e",
}
"""What timm calls the ResNeSts."""


def name_in_timm(net_type: str) -> str | None:
    """Return what timm calls the network, or None if it is torchvision's."""
    lower = net_type.lower()
    if not lower.startswith(("timm/", "resnest")):
        return None
    name = lower.removeprefix("timm/")
    if ":" in name:  # "hf-hub:OWNER/NAME", whose letter case counts
        return net_type[len("timm/") :]
    return _RESNEST.get(name, name)


def build_from_timm(
    name: str,
    image_size: tuple[int, int] | None,
    num_classes: int | None,
    pretrained: bool | str | os.PathLike[str],
    small_input: bool,
    options: dict[str, Any],
) -> nn.Module:
    """Return a network of timm.

    Args:
        name: Its name there, or ``hf-hub:OWNER/NAME``.
        image_size: Width and height of the images; networks made for one size are built for it.
        num_classes: Outputs; None for the features.
        pretrained: True for timm's weights, a path for those in a file, False for none.
        small_input: See :func:`~basetrainer.models.stems.shrink_stem`.
        options: More for timm's builder.

    Raises:
        UnknownNameError: If timm has no such network.
        ConfigError: If its builder refuses the options, or the weights cannot be had.
        CheckpointError: If the file of weights cannot be read or is of another network.
        MissingExtraError: If timm is not installed.
    """
    timm = require("timm", extra="timm", needed_by=f"The network 'timm/{name}'")
    if not timm.is_model(name) and ":" not in name:  # what is on the hub is looked up by timm
        suggestion = nearest(name, timm.list_models())
        hint = f" Did you mean 'timm/{suggestion}'?" if suggestion else ""
        raise UnknownNameError(f"Unknown net_type 'timm/{name}'.{hint} See timm.list_models().")
    if image_size is not None and _is_of_one_size(timm, name):
        options = {"img_size": image_size[::-1], **options}
    from_timm = pretrained is True
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=from_timm, num_classes=num_classes or 0, **options
        )
    except OSError as error:
        raise ConfigError(_not_fetched(timm, name, error)) from error
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"timm cannot build 'timm/{name}' with {options}: {error}.") from error
    if small_input and shrink_stem(model, f"timm/{name}") and from_timm:
        logger.warning("small_input: the first layer of timm/%s is new, not pretrained", name)
    if pretrained and not from_timm:
        finetune(model, pretrained)  # type: ignore[arg-type] # a path
    return model


def _is_of_one_size(timm: Any, name: str) -> bool:
    """Whether a network is made for one size of image, such as a ViT; it then takes another."""
    settings = None if ":" in name else timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(getattr(settings, "fixed_input_size", False))


def _not_fetched(timm: Any, name: str, error: OSError) -> str:
    """Return what to say where weights are neither on this machine nor to be had."""
    settings = None if ":" in name else timm.get_pretrained_cfg(name, allow_unregistered=True)
    source = getattr(settings, "hf_hub_id", None) or name
    hub = sys.modules.get("huggingface_hub.constants")
    folder = getattr(hub, "HF_HUB_CACHE", "the cache of the Hugging Face hub")
    reason = str(error).partition("\n")[0].rstrip(".")
    return (
        f"The pretrained weights of 'timm/{name}' (model.safetensors of {source}) are not in "
        f"{folder}, and could not be fetched: {reason}. Give the path of a local file as "
        f"pretrained, or write pretrained=False to start from random weights."
    )
