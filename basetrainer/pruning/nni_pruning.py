"""model_pruning: prune a network in one call, with the arguments that existing programs use."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.errors import ConfigError
from basetrainer.models.load_pruned import load_pruned
from basetrainer.models.structure import rebuilt_structure
from basetrainer.models.summary import model_summary
from basetrainer.pruning.prune import prune, sample_shape
from basetrainer.utils.file_utils import create_dir, write_atomically

logger = logging.getLogger(__name__)


def model_pruning(
    model: nn.Module,
    input_size: int | Sequence[int] = (1, 3, 128, 128),
    sparsity: float = 0.2,
    prune_mod: str = "L1",
    reuse: bool = False,
    speedup: bool = True,
    output_prune: str | os.PathLike[str] | None = None,
    mask_file: str | os.PathLike[str] | None = None,
    dependency_aware: bool = True,
    device: torch.device | str | None = None,
    verbose: bool = False,
    *,
    exclude: str | Sequence[str] = (),
    prune_linear: bool = False,
    backend: str = "nni",
) -> nn.Module:
    """Return a smaller copy of a network: :func:`~basetrainer.pruning.prune.prune`'s model.

    Args:
        model: The network, trained; it stays as it is.
        input_size: ``[W, H]``, ``(C, H, W)`` or ``(N, C, H, W)``.
        sparsity: As of ``prune``.
        prune_mod: As of ``prune``.
        reuse: Whether to prune nothing anew, but rebuild what an earlier call wrote to
            ``output_prune``: its structure and the weights right after it. Load trained ones after.
        speedup: Must be true: channels are removed, not only masked.
        output_prune: Folder in which the pruned weights and their structure are kept, as
            ``pruned_MOD.pth``; none by default.
        mask_file: With ``reuse``: the file, in place of that in ``output_prune``; any that
            :func:`~basetrainer.models.load_pruned.load_pruned` takes.
        dependency_aware: As of ``prune``.
        device: Where the result goes; by default to where ``model`` is.
        verbose: Whether to log the layers of the result.
        exclude: As of ``prune``.
        prune_linear: As of ``prune``.
        backend: As of ``prune``.

    Raises:
        ConfigError: As of ``prune``; or if there is nothing to reuse.
        MissingExtraError: As of ``prune``; reusing needs no backend.
        PruningError: As of ``prune``.
        CheckpointError: If the file to reuse is that of another network.
    """
    if not speedup:
        raise ConfigError(
            "speedup=False would only mask channels, and nothing would get smaller. Leave it out, "
            "or use prune_mod='Level' to make single weights 0."
        )
    file = Path(mask_file) if mask_file else None
    if file is None and output_prune:
        file = Path(output_prune, f"pruned_{prune_mod}.pth")
    if reuse and rebuilt_structure() is None:
        if file is None:
            raise ConfigError("reuse=True needs output_prune, the folder of the earlier pruning.")
        result = load_pruned(file, copy.deepcopy(unwrap(model)))
    else:
        result = prune(
            model,
            input_size,
            sparsity,
            prune_mod,
            exclude=exclude,
            prune_linear=prune_linear,
            dependency_aware=dependency_aware,
            backend=backend,
        ).model
        if output_prune and DistContext.current().is_main:
            file = Path(create_dir(output_prune, file=f"pruned_{prune_mod}.pth"))
            write_atomically(file, lambda to: torch.save(result.state_dict(), to))
            logger.info("pruned weights and structure: %s", file)
    if verbose:
        logger.info("%s", model_summary(result, sample_shape(result, input_size)))
    return result.to(device) if device is not None else result
