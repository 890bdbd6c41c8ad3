"""Pretrained weights: from torch's cache, by torchvision's download, or from a local file."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from basetrainer._torch_private import metadata_of, set_metadata
from basetrainer.errors import ConfigError
from basetrainer.models.finetune import FinetuneReport, finetune, read_state
from basetrainer.models.registry import Network

logger = logging.getLogger(__name__)

_ALWAYS_MEANT = "IMAGENET1K_V1"
"""The weights that ``pretrained=True`` has always been, where a network has several."""

_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
"""Names in torchvision's DenseNet files, from before dots were forbidden."""


def load_pretrained(
    model: nn.Module, network: Network, pretrained: bool | str | os.PathLike[str], changed: set[str]
) -> FinetuneReport:
    """Load pretrained weights into a network just built.

    Args:
        model: The network.
        network: What it was built from.
        pretrained: True for torchvision's weights, the name of those (``"IMAGENET1K_V2"``), or the
            path of a file.
        changed: Modules whose weights may differ from torchvision's: the head, the stem.

    Raises:
        ConfigError: If there are no such weights, or they cannot be downloaded.
        CheckpointError: If the file cannot be read or is of another network.
    """
    choices = _choices(network.name)
    name = str(pretrained)
    if pretrained is not True and name not in choices:
        if not Path(name).is_file() and re.fullmatch(r"[A-Z0-9_]+", name):
            raise ConfigError(
                f"pretrained={name!r}: {network.name!r} has the weights {', '.join(choices)}. "
                f"Write one of them, True, False, or the path of a file."
            )
        return finetune(model, _fitted(model, read_state(name)))
    if network.has_own_width:
        raise ConfigError(
            f"{network.name!r} has no pretrained weights for width_mult="
            f"{network.options['width_mult']}. Write pretrained=False, or width_mult=1.0."
        )
    if pretrained is True:
        name = _ALWAYS_MEANT if _ALWAYS_MEANT in choices else "DEFAULT"
    report = finetune(model, _fitted(model, _cached_or_downloaded(choices[name].url)))
    left = [
        one
        for one in [*report.missing, *report.wrong_shape]
        if not any(one.startswith(f"{part}.") for part in changed)
    ]
    if left:
        raise ConfigError(
            f"The pretrained weights of {network.name!r} do not fit the options {network.options}: "
            f"{', '.join(left[:4])} would stay random. Write pretrained=False, or drop the options."
        )
    return report


def _choices(name: str) -> dict[str, Any]:
    """Return torchvision's weights for a network, by name."""
    from torchvision import models

    return dict(models.get_model_weights(name).__members__)


def _cached_or_downloaded(url: str) -> dict[str, Tensor]:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(urlparse(url).path).name
    if not file.is_file():
        logger.info("downloading %s to %s", url, folder)
        folder.mkdir(parents=True, exist_ok=True)
        known_hash = re.search(r"-([a-f0-9]*)\.", file.name)
        try:
            torch.hub.download_url_to_file(
                url,
                str(file),
                known_hash.group(1) if known_hash else None,
                progress=sys.stderr.isatty(),
            )
        except OSError as error:  # URLError is one
            raise ConfigError(
                f"The pretrained weights {file.name} are not in {folder}, and downloading {url} "
                f"failed: {error}. Put the file there, give its path as pretrained, or write "
                f"pretrained=False to start from random weights."
            ) from error
    return read_state(file)


def _fitted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename what older files call otherwise; resample a ViT's positions to its image size."""
    for name in [name for name in state if _OLD_DENSENET.match(name)]:
        state[_OLD_DENSENET.sub(r"\1\2", name)] = state.pop(name)
    positions = state.get("encoder.pos_embedding")
    own = model.state_dict().get("encoder.pos_embedding")
    if positions is None or own is None or positions.shape == own.shape:
        return state
    from torchvision.models.vision_transformer import interpolate_embeddings

    image_size, patch_size = int(model.image_size), int(model.patch_size)  # type: ignore[arg-type]
    metadata = metadata_of(state)
    resampled: dict[str, Tensor] = interpolate_embeddings(
        image_size, patch_size, OrderedDict(state)
    )
    if metadata is not None:
        set_metadata(resampled, metadata)
    return resampled
