"""What a network returns: the layers that make its outputs, and the shapes of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Shapes = list[tuple[int, ...]]


def output_layers(model: nn.Module, images: Tensor) -> list[str]:
    """Return the names of the layers whose channels are the outputs: they must stay.

    They are found by walking the graph of gradients from each output back to the first
    convolution or Linear layer on each way.

    Args:
        model: All of its parameters must require gradients.
        images: A batch for it, shape ``(N, C, H, W)``.
    """
    owners = {
        id(parameter): name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
        for parameter in module.parameters(recurse=False)
    }
    with torch.enable_grad():
        outputs = list(tensors_in(model(images)))
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen: set[Any] = set(waiting)
    found: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        before = [one for one, _ in node.next_functions if one is not None]
        own = [owners[id(leaf)] for one in before for leaf in _leaf(one) if id(leaf) in owners]
        if own:
            found.update(dict.fromkeys(own))
            continue
        waiting += [one for one in before if one not in seen]
        seen.update(before)
    return list(found)


def output_shapes(model: nn.Module, images: Tensor, *, train: bool = False) -> Shapes:
    """Return the shapes of all tensors that a network returns for a batch.

    Args:
        model: Its mode and statistics may change: give a copy.
        images: The batch.
        train: Whether it is run as in training.
    """
    with torch.no_grad():
        return [tuple(one.shape) for one in tensors_in(model.train(train)(images))]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in whatever a network returned."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from tensors_in(one)


def _leaf(node: Any) -> Iterator[Tensor]:
    """Yield the parameter that a node hands on, as it is or transposed."""
    while len(node.next_functions) == 1 and not hasattr(node, "variable"):
        node = node.next_functions[0][0]
        if node is None:
            return
    if hasattr(node, "variable"):
        yield node.variable
