"""Remove channels with NNI 3.0, whose own tracer is not used and whose traps are fenced in."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from tqdm import tqdm

from basetrainer.errors import PruningError, first_line
from basetrainer.pruning.options import PruneOptions, require_backend


def prune_with_nni(
    model: nn.Module, images: Tensor, options: PruneOptions, targets: Sequence[str]
) -> None:
    """Remove channels of a network, in place.

    Args:
        model: In evaluation mode, on the CPU; may be left half done if this fails.
        images: A batch for it, shape ``(2, C, H, W)``.
        options: The algorithm and how much of each layer goes.
        targets: Names of the layers that may lose outputs.

    Raises:
        MissingExtraError: If NNI is not installed.
        PruningError: If the network cannot be traced, or NNI fails.
    """
    with _quiet():
        require_backend("nni")
        graph = _traced(model, images)
        try:
            _remove(model, images, options, targets, graph)
        except PruningError:
            raise
        except Exception as error:  # whatever NNI raises: it has no classes of its own for it
            raise PruningError(
                f"NNI cannot prune {type(model).__name__}: {type(error).__name__}: "
                f"{first_line(error)}. Leave layers out by exclude (prune_exclude)"
                f"{', leave prune_linear out' if options.prune_linear else ''}, or try the "
                f"backend torch_pruning."
            ) from error


def _traced(model: nn.Module, images: Tensor) -> fx.GraphModule:
    """Return the network's graph with the shapes in it."""
    from torch.fx.passes.shape_prop import ShapeProp  # costs a tenth of a second

    # NNI's own tracer fails on any torch of today (it looks for torch._C._TensorBase).
    try:
        graph = fx.symbolic_trace(model)
        ShapeProp(graph).propagate(images)
    except Exception as error:  # fx raises whatever the model's forward raises on a proxy
        raise PruningError(
            f"{type(model).__name__} cannot be traced by torch.fx, which NNI needs: "
            f"{first_line(error)}. Write its forward() without Python conditions "
            f"on tensors, or choose the backend torch_pruning."
        ) from error
    return graph


def _remove(
    model: nn.Module,
    images: Tensor,
    options: PruneOptions,
    targets: Sequence[str],
    graph: fx.GraphModule,
) -> None:
    """Do it, with the network's graph."""
    used = {node.target for node in graph.graph.nodes if node.op == "call_module"}
    groups = _groups(graph, [name for name in targets if name in used], options)
    scales = _scales(graph) if options.prune_mod == "Slim" else None
    if scales is not None:
        groups = [one for one in groups if any(name in scales for name in _names(one))]
    if not groups:
        without = " with a BatchNorm after it" if scales is not None else ""
        raise PruningError(f"{type(model).__name__} has no layer{without} to prune.")
    config = [layer for group in groups for layer in group]
    _speed_up(model, images, _masks(model, config, options.prune_mod, scales))


def _groups(
    graph: fx.GraphModule, targets: Sequence[str], options: PruneOptions
) -> list[list[dict[str, Any]]]:
    """Return NNI's settings of each layer, in groups that must lose the same channels."""
    if not targets:
        return []
    config: list[dict[str, Any]] = [{"op_names": list(targets), "sparse_ratio": options.sparsity}]
    if not options.dependency_aware:
        return [[{**config[0], "op_names": [name]}] for name in targets]
    from nni.compression.speedup.dependency import auto_set_denpendency_group_ids

    groups: dict[str, list[dict[str, Any]]] = {}
    for layer in auto_set_denpendency_group_ids(graph, config):
        group = layer.get("dependency_group_id", layer["op_names"][0])
        groups.setdefault(group, []).append(layer)
    return list(groups.values())


def _names(group: Sequence[dict[str, Any]]) -> list[str]:
    return [layer["op_names"][0] for layer in group]


def _scales(graph: fx.GraphModule) -> dict[str, Tensor]:
    """Return the mean ``|gamma|`` of the BatchNorms after each layer, of shape ``(C,)``."""
    from nni.compression.speedup.dependency import find_adjacent_layers

    norm = nn.modules.batchnorm._BatchNorm
    stops = [nn.Linear, nn.modules.conv._ConvNd, norm]
    scales: dict[str, Tensor] = {}
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        after = find_adjacent_layers(node, graph, stops, "child")
        norms = [graph.get_submodule(str(one.target)) for one in after]
        gammas = [
            one.weight.detach().abs() for one in norms if isinstance(one, norm) and one.affine
        ]
        if gammas and len({len(gamma) for gamma in gammas}) == 1:
            scales[str(node.target)] = torch.stack(gammas).mean(0)
    return scales


def _masks(
    model: nn.Module,
    config: list[dict[str, Any]],
    algorithm: str,
    scales: dict[str, Tensor] | None,
) -> dict[str, Any]:
    """Return what NNI wants to remove of each layer; the network stays as it is."""
    from nni.compression import pruning

    classes = {"L2": pruning.L2NormPruner, "FPGM": pruning.FPGMPruner}
    # NNI's SlimPruner trains factors of its own and does not rank the network's gammas. Its norm
    # pruner does all the rest: the mean over a group, the share per block, the masks.
    pruner = classes.get(algorithm, pruning.L1NormPruner)(model, config)
    if scales is not None:
        rank = pruner._calculate_metrics

        def rank_by_scale(data: Any) -> Any:
            metrics = rank(data)
            for name, metric in metrics.items():
                # A layer of a group that has no BatchNorm of its own has no vote.
                own = scales.get(name, torch.zeros(metric["weight"].numel()))
                metric["weight"] = own.reshape(metric["weight"].shape)
            return metrics

        pruner._calculate_metrics = rank_by_scale
    try:
        masks: dict[str, Any] = pruner.compress()[1]
    finally:
        pruner.unwrap_model()
    return masks


def _speed_up(model: nn.Module, images: Tensor, masks: dict[str, Any]) -> None:
    """Replace the layers by smaller ones."""
    from nni.compression.speedup import ModelSpeedup

    silent = logging.getLogger("nni.silent")
    speedup = ModelSpeedup(
        model, images, masks, graph_module=fx.symbolic_trace(model), logger=silent
    )
    speedup.speedup_model()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNI's hundreds of lines off the screen, and its import's warnings from being errors."""
    chatter = logging.getLogger("nni")
    level = chatter.level
    interval = tqdm.monitor_interval
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImportError):  # require_backend() says so
            importlib.import_module("nni")  # sets its logger's level
        chatter.setLevel(logging.CRITICAL)
        # torch.fx has a hidden bar, whose thread would stay and not mix with starting processes.
        tqdm.monitor_interval = 0
        try:
            yield
        finally:
            tqdm.monitor_interval = interval
            chatter.setLevel(level or logging.WARNING)
