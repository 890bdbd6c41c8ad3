"""Remove channels with torch-pruning."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from basetrainer.errors import PruningError, first_line
from basetrainer.pruning.options import PruneOptions, require_backend


def prune_with_torch_pruning(
    model: nn.Module, images: Tensor, options: PruneOptions, targets: Sequence[str]
) -> None:
    """Remove channels of a network, in place; arguments and errors as of ``prune_with_nni``."""
    package = require_backend("torch_pruning")
    importance = package.importance
    ranks = {
        "L1": lambda: importance.GroupMagnitudeImportance(p=1),
        "L2": lambda: importance.GroupMagnitudeImportance(p=2),
        "FPGM": lambda: importance.FPGMImportance(),
        "Slim": lambda: importance.BNScaleImportance(),
    }
    modules = dict(model.named_modules())
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    kept = [one for name, one in modules.items() if isinstance(one, layers) and name not in targets]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of raw parameters, which it handles
            package.pruner.BasePruner(
                model,
                images,
                importance=ranks[options.prune_mod](),
                pruning_ratio=options.sparsity,
                pruning_ratio_dict={
                    modules[name]: _ratio(modules[name], options.sparsity) for name in targets
                },
                ignored_layers=kept,
                root_module_types=[nn.Conv2d, nn.ConvTranspose2d, nn.Linear],
                # Its defaults are dicts that all pruners of a process share and fill.
                in_channel_groups={},
                out_channel_groups={},
                num_heads={},
            ).step()
    except Exception as error:  # whatever it raises: it has no classes of its own
        raise PruningError(
            f"torch-pruning cannot prune {type(model).__name__}: {type(error).__name__}: "
            f"{first_line(error)}. Leave layers out by exclude (prune_exclude), or "
            f"try the backend nni."
        ) from error


def _ratio(layer: Any, sparsity: float) -> float:
    """Return the share with which torch-pruning removes as many channels as NNI does.

    Of n channels NNI removes ``int(n * sparsity)``, torch-pruning ``n - int(n * (1 - ratio))``.
    """
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return max(0.0, (int(channels * sparsity) - 1e-3) / channels)
