"""The state dict of the weights that were tested: averaged ones where there are such."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from basetrainer.callbacks.ema import EMA
from basetrainer.checkpoint.tree import is_finite
from basetrainer.distributed.model_state import full_state
from basetrainer.engine.engine import Engine
from basetrainer.models.learned import learned_state


@contextmanager
def tested_state(engine: Engine | None, model: nn.Module | None) -> Iterator[dict[str, Tensor]]:
    """Give the state dict that was tested; collective where the model is sharded.

    It is valid within the context only: behind it the tensors may hold other weights.
    """
    if model is None:
        yield {}
        return
    weights = engine.test_weights if engine is not None else nullcontext
    averages: Any = getattr(weights, "__self__", None)
    if isinstance(averages, EMA):
        yield averages.averaged_state()  # without moving a weight
    else:
        with weights():
            yield full_state(model)


def are_weights_finite(model: nn.Module | None, state: dict[str, Any]) -> bool:
    """Whether what a model learns is finite: constants of its buffers may be infinite."""
    return is_finite(learned_state(model, state))
