"""The graph of a model for TensorBoard, if the model can be traced."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from basetrainer.utils.torch_tools import evaluation_mode

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)


def trace_graph(writer: SummaryWriter, model: nn.Module, inputs: Any) -> None:
    """Write the graph of ``model``; one that cannot be traced is a warning, never an error.

    Args:
        writer: Where it goes.
        model: The user's model, not wrapped.
        inputs: What its ``forward`` gets.
    """
    said = io.StringIO()  # torch prints the error of a trace and much besides
    try:
        with (
            contextlib.redirect_stdout(said),
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
            evaluation_mode(model),
        ):
            warnings.simplefilter("ignore")
            writer.add_graph(model, inputs)
    except Exception as error:  # whatever the tracer or the model's own code may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.warning("no model graph for TensorBoard: it cannot be traced (%s)", reason)
