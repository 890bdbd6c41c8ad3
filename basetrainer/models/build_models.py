"""get_models: from a network's name to the network, with a head for the user's classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from torch import nn

from basetrainer.errors import ConfigError
from basetrainer.models.from_timm import build_from_timm, name_in_timm
from basetrainer.models.heads import find_head, replace_head
from basetrainer.models.pretrained import load_pretrained
from basetrainer.models.registry import find_network
from basetrainer.models.stems import shrink_stem
from basetrainer.models.structure import remember_network


def get_models(
    net_type: str,
    input_size: int | Sequence[int] | None,
    num_classes: int | None,
    width_mult: float = 1.0,
    is_train: bool = True,
    pretrained: bool | str | os.PathLike[str] = True,
    *,
    small_input: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Return a classification network of torchvision or timm.

    GoogLeNet and Inception come without auxiliary outputs unless ``aux_logits=True``, and always
    renormalise their input from ImageNet's mean and deviation (``transform_input``).

    Args:
        net_type: Any classification network of torchvision, in any letter case: ``resnet18``,
            ``mobilenet_v2``, ``efficientnet_b0``, ``vit_b_16``, ...; ``timm/NAME`` for those of
            timm, ``resnest50`` and its kin among them.
        input_size: ``[W, H]`` of the images, or one number for both. Only networks made for one
            size (ViT, MaxViT, Swin of timm) look at it.
        num_classes: Outputs; None or 0 gives the backbone, whose output are features
            ``(N, num_features)``; ``model.num_features`` is their number.
        width_mult: Number of channels over that of the plain network: any for the MobileNets, those
            that torchvision has for ``mnasnet`` and ``shufflenet_v2``.
        is_train: Whether the network is returned in training mode.
        pretrained: True for ImageNet weights (``IMAGENET1K_V1``, what it has always meant), from
            torch's cache or else downloaded; the name of others, such as ``"IMAGENET1K_V2"``; the
            path of a local file, of which everything that fits is loaded; False for none.
        small_input: Change the first layers to fit images of 32x32.
        **kwargs: Handed to torchvision's or timm's builder, ``dropout`` for example.

    Raises:
        UnknownNameError: If there is no such network.
        ConfigError: If it does not go with the other arguments, or the weights are not there and
            cannot be downloaded; the message names file and folder.
        CheckpointError: If the file of weights cannot be read or is of another network.
        MissingExtraError: If timm is needed and not installed.
    """
    num_classes = _checked_classes(num_classes)
    size = _width_and_height(input_size)
    if isinstance(pretrained, int):
        pretrained = bool(pretrained)
    if not isinstance(net_type, str) or not net_type:
        raise ConfigError(f"net_type={net_type!r} is no name. Write one, such as 'resnet18'.")
    if (timm_name := name_in_timm(net_type)) is not None:
        if width_mult != 1.0:
            raise ConfigError(
                f"width_mult={width_mult}: networks of timm have one width. Write 1.0."
            )
        model = build_from_timm(timm_name, size, num_classes, pretrained, small_input, kwargs)
    else:
        network = find_network(net_type, width_mult, size, kwargs)
        model = network.build(num_classes)
        changed = {find_head(model), "AuxLogits", "aux1", "aux2"}
        if small_input:
            changed |= shrink_stem(model, network.name)
        if pretrained:
            load_pretrained(model, network, pretrained, changed)
        if num_classes is None:
            replace_head(model, None)
    arguments = {"input_size": size, "num_classes": num_classes, "width_mult": width_mult}
    remember_network(model, net_type=net_type, **arguments, small_input=small_input, **kwargs)
    return model.train(is_train)


def _checked_classes(num_classes: Any) -> int | None:
    """Return the number of classes, None for a backbone."""
    if num_classes is None or num_classes is False:
        return None
    if not isinstance(num_classes, int) or num_classes < 0:
        raise ConfigError(
            f"num_classes={num_classes!r} is no number of classes. Write one, such as "
            f"len(class_names), or None for the backbone."
        )
    return num_classes or None


def _width_and_height(input_size: Any) -> tuple[int, int] | None:
    """Return ``[W, H]`` or one number as two."""
    if input_size is None:
        return None
    pair = [input_size, input_size] if isinstance(input_size, int) else list(input_size)
    if len(pair) != 2 or not all(isinstance(one, int) and one > 0 for one in pair):
        raise ConfigError(
            f"input_size={input_size!r} is no size of images. Write [W, H], such as [224, 224]."
        )
    return pair[0], pair[1]
