"""Prune a copy of a network with one of the backends, and refuse what cannot be used."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from basetrainer._names import matches
from basetrainer.errors import ConfigError, PruningError, first_line
from basetrainer.models.rebuild import apply_structure, structure_between
from basetrainer.models.structure import Structure
from basetrainer.pruning.nni_backend import prune_with_nni
from basetrainer.pruning.options import PruneOptions
from basetrainer.pruning.outputs import output_layers, output_shapes, tensors_in
from basetrainer.pruning.torch_pruning_backend import prune_with_torch_pruning

logger = logging.getLogger(__name__)


def prune_copy(
    full: nn.Module, shape: Sequence[int], options: PruneOptions
) -> tuple[Structure, dict[str, Tensor]]:
    """Prune a copy of ``full``, which is a CPU copy itself, and check what came of it.

    Returns:
        The structure, and the tensors that changed.
    """
    options.require_backend()
    work = copy.deepcopy(full).eval()
    if next(full.parameters(), torch.empty(0)).dtype in (torch.float16, torch.bfloat16):
        work.float()  # selecting channels changes no bit, and CPUs compute little in half precision
    dtype = next(work.parameters(), torch.empty(0)).dtype
    for parameter in work.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    # Backends draw random inputs; that must not change what the run draws later.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        images = torch.rand((2, *shape), dtype=dtype)
        targets = _targets(work, images, options)
        reference = copy.deepcopy(work)
        if options.prune_mod == "Level":
            return _prune_weights(work, targets, options.sparsity)
        if options.prune_backend == "nni":
            prune_with_nni(work, images, options, targets)
        else:
            prune_with_torch_pruning(work, images, options, targets)
        structure = structure_between(reference, work)
        own = reference.state_dict()
        state = {
            name: value.detach()
            for name, value in work.state_dict().items()
            if value.shape != own[name].shape
        }
        _check(reference, work, structure, state, images)
    return structure, state


def _targets(work: nn.Module, images: Tensor, options: PruneOptions) -> list[str]:
    """Return the names of the layers that may lose outputs."""
    modules = dict(work.named_modules())
    for pattern in options.prune_exclude:
        if not any(matches(name, [pattern]) for name in modules):
            raise ConfigError(
                f"prune_exclude: no layer matches {pattern!r}. {type(work).__name__} has "
                f"{', '.join(name for name, _ in work.named_children())}."
            )
    outputs = output_layers(work, images)
    logger.debug("output layers: %s", outputs)
    targets = [
        name
        for name in prunable(work, options)
        if name not in outputs and not matches(name, options.prune_exclude)
    ]
    if not targets:
        hint = "" if options.prune_linear else " prune_linear: True takes hidden Linear layers too."
        raise PruningError(
            f"{type(work).__name__} has no layer to prune: its {len(prunable(work, options))} "
            f"convolutions or Linear layers make the outputs, or are excluded.{hint}"
        )
    return targets


def prunable(model: nn.Module, options: PruneOptions) -> list[str]:
    """Return the names of all layers of the kinds that lose outputs."""
    kinds: list[type[nn.Module]] = [nn.Conv2d]
    if options.prune_linear:
        kinds.append(nn.Linear)
    if options.prune_backend == "torch_pruning":
        kinds.append(nn.ConvTranspose2d)
    return [name for name, one in model.named_modules() if isinstance(one, tuple(kinds))]


def _prune_weights(
    work: nn.Module, targets: Sequence[str], sparsity: float
) -> tuple[Structure, dict[str, Tensor]]:
    """Make the smallest of each layer's weights that are left 0."""
    for name in targets:
        layer: Any = work.get_submodule(name)
        zeros = int((layer.weight == 0).sum())
        amount = zeros + int(sparsity * (layer.weight.numel() - zeros))
        torch_prune.l1_unstructured(layer, "weight", amount=amount)
        torch_prune.remove(layer, "weight")
    structure = structure_between(work, work)
    structure["zeros"] = sorted({*structure.get("zeros", ()), *targets})
    weights = work.state_dict()
    return structure, {f"{name}.weight": weights[f"{name}.weight"].detach() for name in targets}


def _check(
    full: nn.Module,
    work: nn.Module,
    structure: Structure,
    state: dict[str, Tensor],
    images: Tensor,
) -> None:
    """Refuse what a backend left that cannot be used, or not be rebuilt from a file."""
    name = type(full).__name__
    if not state:
        raise PruningError(
            f"Nothing of {name} was removed: its layers have too few channels for this sparsity, "
            f"or all depend on excluded ones."
        )
    for train in (False, True):
        try:
            expected = output_shapes(copy.deepcopy(full), images, train=train)
        except Exception:  # the full network cannot be run so either
            if train:
                continue
            raise
        small = rebuilt(copy.deepcopy(full), structure, state)
        try:
            shapes = output_shapes(small, images, train=train)
        except Exception as error:
            raise PruningError(
                f"The pruned {name} cannot be run{' in training' if train else ''}: "
                f"{first_line(error)}. That is so with numbers of channels in its forward(), with "
                f"parameters and classes of layers that the backend does not know, and with parts "
                f"that only training runs. Exclude what is before them, or try the other backend."
            ) from error
        if shapes != expected:
            raise PruningError(
                f"The pruned {name} returns {shapes} instead of {expected}. Exclude the layers "
                f"that make its outputs."
            )
    small = rebuilt(copy.deepcopy(full), structure, state)
    if not all(map(_equal, _outputs(work, images), _outputs(small, images))):
        raise PruningError(
            f"What describes the pruned {name} is not all that changed: a file of it would not be "
            f"loaded right. Exclude its unusual layers."
        )


def _outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    with torch.no_grad():
        return list(tensors_in(model.eval()(images)))


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)


def rebuilt(network: nn.Module, structure: Structure, state: dict[str, Tensor]) -> nn.Module:
    """Give a full network, in place, a structure and the weights that are left."""
    apply_structure(network, structure)
    own = network.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)
    return network
