"""What is in a batch and in a network's outputs: images, labels, logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from basetrainer.errors import UsageError


def labels_of(inputs: Any) -> Any:
    """Return the labels of a batch: its entry ``label`` if it is a dict, else its second part.

    Raises:
        UsageError: If it has none there.
    """
    if isinstance(inputs, Mapping):
        if "label" in inputs:
            return inputs["label"]
        found = f"a dict with the keys {', '.join(map(str, inputs))}"
    elif isinstance(inputs, (list, tuple)):
        if len(inputs) > 1:
            return inputs[1]
        found = f"a {type(inputs).__name__} of length {len(inputs)}"
    elif not isinstance(inputs, Tensor) and hasattr(inputs, "label"):
        return inputs.label
    else:
        found = f"a {type(inputs).__name__}"
    raise UsageError(
        f"No labels: the batch is {found}. They are expected under 'label' of a dict, or as the "
        f"second part of a list or tuple."
    )


def input_of(inputs: Any) -> Any:
    """Return what a network gets of a batch.

    Args:
        inputs: Of a dict it is the entry ``image``, else the first images in it, else its first
            entry; of a list or tuple the first part; anything else is the input itself.
    """
    if isinstance(inputs, Mapping):
        if "image" in inputs:
            return inputs["image"]
        images = images_of(inputs)
        return images if images is not None else next(iter(inputs.values()), None)
    return inputs[0] if isinstance(inputs, (list, tuple)) and len(inputs) else inputs


def logits_of(outputs: Any) -> Any:
    """Return the logits among a network's outputs: the first part of a tuple or list."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def images_of(inputs: Any) -> Tensor | None:
    """Return the first tensor of a batch that holds images, None if there is none.

    Args:
        inputs: Images have the shape ``(N, C, H, W)`` with one or three channels C.
    """
    if isinstance(inputs, Tensor):
        return inputs if inputs.ndim == 4 and inputs.shape[1] in (1, 3) else None
    parts: Iterable[Any] = ()
    if isinstance(inputs, Mapping):
        parts = inputs.values()
    elif isinstance(inputs, (list, tuple)):
        parts = inputs
    return next((found for part in parts if (found := images_of(part)) is not None), None)
