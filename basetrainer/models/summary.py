"""model_summary: layers, parameters, multiply-adds and activation memory of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer._wrappers import unwrap
from basetrainer.errors import ConfigError


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a :class:`ModelSummary`."""

    name: str
    """Its dotted name."""

    kind: str
    """Its class."""

    output: tuple[int, ...]
    """Shape of its (first) output; empty if it was not run or gives no tensor."""

    parameters: int
    """Numbers in its own parameters."""

    macs: int
    """Multiply-adds of one sample."""


@dataclass(frozen=True)
class ModelSummary:
    """What :func:`model_summary` found; ``str()`` makes a table of it."""

    name: str
    """Class of the model."""

    input_shape: tuple[int, ...]
    """What it was run with."""

    layers: tuple[LayerSummary, ...]
    """Modules that have parameters or compute something themselves, in the order of the model."""

    parameters: int
    """Numbers in all parameters, tied ones once."""

    trainable: int
    """Those that require a gradient."""

    macs: int
    """Multiply-adds of one sample, as torch's own counter sees them."""

    activation_bytes: int
    """Memory of all layers' outputs for one sample, which training keeps: an estimate. In-place
    layers count nothing; what is computed between layers is not seen."""

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters", "MACs")]
        rows += [
            (one.name, one.kind, _shape(one.output), f"{one.parameters:,}", f"{one.macs:,}")
            for one in self.layers
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(
                text.rjust(width) if column > 2 else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(len(line) for line in lines))
        return "\n".join([*lines, lines[1], self.totals()])

    def totals(self) -> str:
        """Return the sums in one line."""
        return (
            f"{self.name} on {_shape(self.input_shape)}: {self.parameters / 1e6:.2f} M parameters, "
            f"{self.trainable / 1e6:.2f} M trainable; {self.macs / 1e6:.1f} M MACs and "
            f"{self.activation_bytes / 2**20:.1f} MiB of activations per sample"
        )


def model_summary(model: nn.Module, input_size: int | Sequence[int]) -> ModelSummary:
    """Run one sample of zeros through a network and count.

    The network is left as it was: nothing is trained, statistics and random numbers are untouched.

    Args:
        model: The network, wrapped or not; any that takes one tensor.
        input_size: ``[W, H]`` of an image or one number for both, with as many channels as the
            first convolution takes; or a shape of three or more numbers, such as ``(C, H, W)``.

    Raises:
        ConfigError: If the network cannot be run with such an input.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model = unwrap(model)
    first = next(model.parameters(), torch.empty(0))
    shape = input_shape(model, input_size)
    outputs: dict[str, tuple[int, ...]] = {}
    sizes: list[int] = []
    counter = FlopCounterMode(display=False)
    dtype = first.dtype if first.is_floating_point() else torch.float32
    image = torch.zeros((1, *shape), device=first.device, dtype=dtype)
    # Attention as plain products: before torch 2.15 the CPU's own kernel is not counted.
    attention = sdpa_kernel(SDPBackend.MATH)
    with _evaluating(model), _watching(model, outputs, sizes), torch.no_grad(), attention, counter:
        try:
            model(image)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(
                f"{type(model).__name__} cannot be run with an input of shape {_shape(image.shape)}"
                f": {error}. Give another input_size, [W, H] or (C, H, W)."
            ) from error
    counts: dict[str, dict[Any, int]] = dict(counter.get_flop_counts())
    parameters = list(model.parameters())
    return ModelSummary(
        name=type(model).__name__,
        input_shape=tuple(image.shape),
        layers=tuple(_layers(model, outputs, counts)),
        parameters=sum(one.numel() for one in parameters),
        trainable=sum(one.numel() for one in parameters if one.requires_grad),
        macs=counter.get_total_flops() // 2,
        activation_bytes=sum(sizes),
    )


def _layers(
    model: nn.Module, outputs: dict[str, tuple[int, ...]], counts: dict[str, dict[Any, int]]
) -> Iterator[LayerSummary]:
    # torch's counter puts the class of the model in front of its modules' names.
    root = type(model).__name__
    for name, module in model.named_modules():
        own = sum(one.numel() for one in module.parameters(recurse=False))
        path = f"{root}.{name}" if name else root
        below = [f"{path}.{child}" for child, _ in module.named_children()]
        flops = sum(counts.get(path, {}).values())
        flops -= sum(sum(counts.get(child, {}).values()) for child in below)
        if own or flops or (not below and name in outputs):
            yield LayerSummary(
                name or "(itself)", type(module).__name__, outputs.get(name, ()), own, flops // 2
            )


@contextmanager
def _watching(
    model: nn.Module, outputs: dict[str, tuple[int, ...]], sizes: list[int]
) -> Iterator[None]:
    """Note the shape of what each module returns, and the bytes of what each leaf does."""

    def watch(name: str, module: nn.Module) -> Any:
        is_leaf = next(module.children(), None) is None

        def note(_: nn.Module, inputs: Any, output: Any) -> None:
            tensors = [one for one in _flat(output) if isinstance(one, Tensor)]
            if tensors:
                outputs[name] = tuple(tensors[0].shape)
            given = {one.data_ptr() for one in _flat(inputs) if isinstance(one, Tensor)}
            if is_leaf:
                sizes.extend(one.nbytes for one in tensors if one.data_ptr() not in given)

        return module.register_forward_hook(note)

    handles = [watch(name, module) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode and each back in its own."""
    modes = [(module, module.training) for module in model.modules()]
    has_fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # what is fused there is not counted
    model.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(has_fast_path)
        for module, mode in modes:
            module.training = mode


def input_shape(model: nn.Module, input_size: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape of one sample without a batch, as :func:`model_summary` understands it."""
    given = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    if len(given) > 2:
        return given
    if len(given) != 2:
        raise ConfigError(f"input_size={input_size!r}: write [W, H], or a shape (C, H, W).")
    width, height = given
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels, height, width
    return 3, height, width


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [one for item in value for one in _flat(item)]
    return [value]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape) or "-"
