"""The first layers of a network, made to fit small images."""

from __future__ import annotations

import logging

from torch import nn

from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


def shrink_stem(model: nn.Module, net_type: str) -> set[str]:
    """Let a network made for 224x224 start at full resolution, for images of 32x32, in place.

    ResNet and its kin (``conv1`` and ``maxpool``) get a 3x3 convolution of stride 1 and no pooling;
    where ``conv1`` is several convolutions (ResNeSt), they stay and the first gets stride 1.
    In other networks the first convolution that strides gets stride 1, as do branches beside it;
    where it cuts the image into patches (kernel as large as stride: ConvNeXt, Swin), the patches
    get half the edge. VGG has no stride to take out. It comes before loading weights: a new
    convolution keeps its own.

    Args:
        model: The network.
        net_type: Its name, for messages.

    Returns:
        Names of the layers that are new.

    Raises:
        ConfigError: If the network is made for one grid of patches (ViT, MaxViT).
    """
    if hasattr(model, "conv_proj") or hasattr(model, "patch_embed") or "maxvit" in net_type:
        raise ConfigError(
            f"small_input=True does not go with {net_type!r}, whose patches make a fixed grid. "
            f"Give it input_size, or take a convolutional network such as 'resnet18'."
        )
    first = getattr(model, "conv1", None)
    if isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        if isinstance(first, (nn.Conv2d, nn.Sequential)):
            model.maxpool = nn.Identity()
        if isinstance(first, nn.Conv2d):
            model.conv1 = _convolution(first, kernel_size=3, stride=1, padding=1)
            return {"conv1"}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d) or max(module.stride) == 1:
            continue
        if module.kernel_size == module.stride:
            half = module.stride[0] // 2
            model.set_submodule(
                name, _convolution(module, kernel_size=half, stride=half, padding=0)
            )
            return {name}
        _stop_striding(model, name, module)
        return set()
    logger.info("small_input: %s has no convolution that strides; it stays as it is", net_type)
    return set()


def _stop_striding(model: nn.Module, name: str, first: nn.Conv2d) -> None:
    """Take the stride out of a convolution, and out of parallel branches that are added to it."""
    block = name.partition(".")[0]
    inputs, stride = first.in_channels, first.stride
    for module in model.get_submodule(block).modules():
        if isinstance(module, nn.Conv2d) and (module.in_channels, module.stride) == (
            inputs,
            stride,
        ):
            module.stride = (1, 1)


def _convolution(like: nn.Conv2d, *, kernel_size: int, stride: int, padding: int) -> nn.Conv2d:
    """Return a convolution with the channels of another one, initialised as in ResNet."""
    made = nn.Conv2d(
        like.in_channels,
        like.out_channels,
        kernel_size,
        stride=stride,
        padding=padding,
        bias=like.bias is not None,
    )
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made
