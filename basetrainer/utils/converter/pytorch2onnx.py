"""Old door: convert2onnx over torch's own exporter."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from basetrainer._optional import require
from basetrainer.errors import ConfigError

__all__ = ["convert2onnx"]

logger = logging.getLogger(__name__)


_LARGEST = 2_000_000_000
"""Bytes of weights that an ONNX file can hold itself; more go to a file beside it."""


def convert2onnx(
    model: nn.Module,
    input_shape: Sequence[int],
    input_names: Sequence[str] = ("input",),
    output_names: Sequence[str] = ("output",),
    onnx_file: str | os.PathLike[str] = "",
    dynamic: bool = True,
    simplify: bool = True,
    opset_version: int | None = None,
    use_prune: bool = False,
    sparsity: float = 0.2,
    device: str | torch.device = "cpu",
) -> str:
    """Write a network of one image input as an ONNX file and check the file.

    Args:
        model: The network; it is moved to ``device`` and left in eval mode.
        input_shape: ``(B, C, H, W)`` of an input.
        input_names: What the file calls the input.
        output_names: What the file calls the outputs.
        onnx_file: Where to; "" is ``output/model.onnx``. Folders are made.
        dynamic: Whether the file takes any batch size and, where the network does, any height and
            width; otherwise it takes one image of ``(C, H, W)``.
        simplify: Whether torch folds constants and merges operations in the file.
        opset_version: ONNX's version of its operations; None for torch's choice.
        use_prune: Must be False: prune first, then convert what comes out.
        sparsity: Of pruning; without effect.
        device: Where the network runs while it is read.

    Returns:
        The path of the file.

    Raises:
        MissingExtraError: If onnx or onnxscript is not installed.
        ConfigError: If the shape has not four numbers, or ``use_prune`` is set.
    """
    if use_prune:
        raise ConfigError("use_prune: convert2onnx does not prune. Prune first, then convert.")
    if len(input_shape) != 4:
        raise ConfigError(f"input_shape: {tuple(input_shape)} must be (B, C, H, W).")
    checker = require("onnx.checker", extra="export", needed_by="convert2onnx")
    require("onnxscript", extra="export", needed_by="convert2onnx")
    path = Path(onnx_file or "output/model.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    batch, *shape = input_shape
    # Of a batch of one torch concludes that there is never another.
    image = torch.zeros(max(batch, 2) if dynamic else 1, *shape, device=device)
    free = torch.export.Dim.AUTO
    torch.onnx.export(
        model.to(device).eval(),
        (image,),
        str(path),
        input_names=list(input_names),
        output_names=list(output_names),
        opset_version=opset_version,
        dynamo=True,
        dynamic_shapes=({0: free, 2: free, 3: free},) if dynamic else None,
        optimize=simplify,
        external_data=_bytes_of(model) > _LARGEST,  # one file, as ever, if it can be
        verbose=False,
    )
    checker.check_model(str(path))
    logger.info("saved %s", path)
    return str(path)


def _bytes_of(model: nn.Module) -> int:
    return sum(value.nbytes for value in model.state_dict().values() if isinstance(value, Tensor))
