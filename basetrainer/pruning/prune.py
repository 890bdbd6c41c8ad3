"""prune: a smaller copy of a network, checked in every way, or one clear error."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.errors import ConfigError
from basetrainer.models.names import shortened
from basetrainer.models.structure import Structure, rebuilt_structure, structure_of
from basetrainer.models.summary import input_shape, model_summary
from basetrainer.pruning.options import PruneOptions
from basetrainer.pruning.pruned_copy import prunable, prune_copy, rebuilt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneResult:
    """What :func:`prune` made."""

    model: nn.Module
    """The smaller network: a new one, with the classes, device, modes, frozen parameters and
    attributes of the one that was given."""

    structure: Structure
    """What it has other than the full network; see :mod:`basetrainer.models.structure`."""

    parameters: tuple[int, int]
    """Numbers in all parameters, before and after."""

    macs: tuple[int, int]
    """Multiply-adds of one sample, before and after."""

    skipped: tuple[str, ...]
    """Convolutions (and Linear layers, if asked for) that lost nothing."""

    def __str__(self) -> str:
        (full, left), (work, now) = self.parameters, self.macs
        text = (
            f"{full / 1e6:.2f} -> {left / 1e6:.2f} M parameters ({left / full:.0%}), "
            f"{work / 1e6:.1f} -> {now / 1e6:.1f} M MACs ({now / max(work, 1):.0%})"
        )
        zeros = self.structure.get("zeros", ())
        text += f", zeros in {len(zeros)} layers" if zeros else ""
        return f"{text}; left as they are: {shortened(self.skipped) or 'none'}"


def prune(
    model: nn.Module,
    input_size: int | Sequence[int],
    sparsity: float,
    prune_mod: str = "L1",
    *,
    exclude: str | Sequence[str] = (),
    prune_linear: bool = False,
    dependency_aware: bool = True,
    backend: str = "nni",
) -> PruneResult:
    """Return a smaller copy of a network; the one that is given stays as it is, whatever happens.

    The layers that make the outputs are found and left out. Train on afterwards: accuracy right
    after pruning is low. Make the optimizer, averages and wrappers (``build_model_parallel``) from
    the new network. In a run of several processes all must call this: rank 0 prunes, and the others
    get the result. Random numbers are not touched.

    Args:
        model: The network, trained; wrapped or not.
        input_size: ``[W, H]`` of an image or one number for both, or a shape ``(C, H, W)`` or
            ``(N, C, H, W)``.
        sparsity: Share of the channels that each layer loses, above 0 and below 1.
        prune_mod: Which channels go: ``L1`` (arXiv:1608.08710), ``L2``, ``FPGM``
            (arXiv:1811.00250), ``Slim`` (arXiv:1708.06519; train with ``slim_lambda`` before), or
            ``Level`` for single weights, which become 0.
        exclude: Patterns of names of layers that are left as they are, as for
            :func:`~basetrainer.models.freeze.freeze`.
        prune_linear: Whether hidden Linear layers lose outputs too.
        dependency_aware: Whether layers that are added up lose the same channels.
        backend: ``nni`` or ``torch_pruning``.

    Raises:
        ConfigError: If an argument is no good, or the network cannot be run with that input.
        MissingExtraError: If the backend is not installed.
        PruningError: If the backend cannot prune the network, or what it left cannot be used.
    """
    options = PruneOptions.from_cfg(
        {
            "sparsity": sparsity,
            "prune_mod": prune_mod,
            "prune_backend": backend,
            "prune_exclude": exclude,
            "prune_linear": prune_linear,
            "dependency_aware": dependency_aware,
        }
    )
    return prune_as(model, input_size, options)


def sample_shape(model: nn.Module, input_size: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return ``(C, H, W)`` from any way to give the size of the images.

    Raises:
        ConfigError: If it is None.
    """
    if input_size is None:
        raise ConfigError("input_size: it is not set, and pruning needs it, such as [224, 224].")
    size = input_size if isinstance(input_size, int) else tuple(input_size)[-3:]
    return input_shape(model, size)


def prune_as(
    model: nn.Module,
    input_size: int | Sequence[int] | None,
    options: PruneOptions,
    *,
    level: int = logging.INFO,
) -> PruneResult:
    """Do what :func:`prune` does, with options that are checked already.

    Args:
        model: As of ``prune``.
        input_size: As of ``prune``.
        options: How.
        level: That of the line in the log.
    """
    network = unwrap(model)
    full = copy.deepcopy(network).cpu()
    shape = sample_shape(full, input_size)
    before = model_summary(full, shape)
    work = functools.partial(prune_copy, full, shape, options)
    known = rebuilt_structure()
    context = DistContext.current()
    structure, state = context.on_main(work) if known is None else (known, {})
    # On every rank and device alike: into the user's own layers, so that all they are stays.
    result = rebuilt(copy.deepcopy(network), structure, state)
    after = model_summary(result, shape)
    found = PruneResult(
        model=result,
        structure=structure_of(result),
        parameters=(before.parameters, after.parameters),
        macs=(before.macs, after.macs),
        skipped=tuple(_skipped(network, result, options)),
    )
    if context.is_main:
        how = f"pruned by {options}" if rebuilt_structure() is None else "rebuilt as pruned before"
        logger.log(level, "%s: %s", how, found)
    return found


def _skipped(full: nn.Module, pruned: nn.Module, options: PruneOptions) -> list[str]:
    """Return the names of layers that might have lost something, but have not."""
    layers = [dict(one.named_modules()) for one in (full, pruned)]
    zeros = structure_of(pruned).get("zeros", ())

    def outputs(layer: Any) -> int:
        return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)

    return [
        name
        for name in prunable(full, options)
        if outputs(layers[0][name]) == outputs(layers[1][name]) and name not in zeros
    ]
