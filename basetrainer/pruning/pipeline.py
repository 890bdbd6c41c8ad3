"""prune_and_train: train, prune, train on, in one call and as many rounds as wanted."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basetrainer._logs import Logs, Metrics
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.config.settings import get, put
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.model_state import full_state
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.trainer import EngineTrainer
from basetrainer.errors import ConfigError
from basetrainer.models.structure import structure_of
from basetrainer.pruning.options import PruneOptions
from basetrainer.pruning.prune import prune_as, sample_shape
from basetrainer.pruning.report import PruningReport
from basetrainer.utils.file_utils import create_dir, write_atomically

logger = logging.getLogger(__name__)

SLIM_LAMBDA = 1e-3
"""What ``slim_lambda`` is before channels are ranked by their scales, if nothing else is said."""


def prune_and_train(make_trainer: Callable[[Any], EngineTrainer], cfg: Any) -> Logs:
    """Train a network, prune it and train on, and report what that cost and gained.

    Without ``finetune`` the full network is trained first; with it, the network of that file is
    pruned. Each stage is a run of its own: a trainer made from a copy of ``cfg`` with
    ``use_prune``, ``finetune``, ``sparsity``, ``num_epochs`` and the folders of that stage, whose
    ``build_model`` loads ``finetune`` and, if ``use_prune``, prunes (see
    :func:`prune_by_config`). The pruned stages go into sub-folders of the first one's, where
    ``pruning.md`` is too. Each starts from the best weights of the one before; before channels are
    ranked by their scales (``Slim``) from the last ones, which the penalty has pulled at longest.

    With ``resume: auto`` a call that was ended goes on where it was: in the stage, in its epoch.

    Args:
        make_trainer: The class of the trainer, or what else makes one from a configuration.
        cfg: The settings; the keys about pruning are in
            :class:`~basetrainer.pruning.options.PruneOptions`. It is not changed.

    Returns:
        The logs of the last stage.

    Raises:
        ConfigError, MissingExtraError, PruningError: Before anything is trained, if the network
            cannot be pruned so.
    """
    options = PruneOptions.from_cfg(cfg)
    DistContext.current().on_main(options.require_backend)
    is_slim = options.prune_mod == "Slim"
    slim = {"slim_lambda": get(cfg, "slim_lambda") or SLIM_LAMBDA} if is_slim else {}
    weights = str(get(cfg, "finetune") or "")
    first = _changed(cfg, use_prune=False, **slim)
    trainer = make_trainer(first)
    shape = sample_shape(unwrap(trainer.model), get(cfg, "input_size"))
    prune_as(trainer.model, shape, options, level=logging.DEBUG)  # or say now that it cannot be
    folder = Path(create_dir(get(first, "work_dir") or "."))
    report = PruningReport(folder, options, goes_on=trainer.config.resume != "never")
    if trainer.is_main_process:
        report.write(is_finished=False)
    logs: Logs = {}
    if weights:
        _report(report, "before", trainer, shape, weights)
    else:
        logs = trainer.run()
        weights = _trained(trainer, first, last=is_slim)
        _report(report, "trained", trainer, shape, weights, load=True)
    for number in range(1, options.prune_rounds + 1):
        if number == options.prune_rounds and is_slim:
            slim = {"slim_lambda": None}
        settings = _changed(
            cfg,
            use_prune=True,
            finetune=weights,
            pretrained=False,
            sparsity=options.sparsity_of_round,
            num_epochs=options.prune_epochs or trainer.config.num_epochs,
            **slim,
            **_folders(first, number),
        )
        before = structure_of(trainer.model)
        trainer = make_trainer(settings)
        if structure_of(trainer.model) == before:
            raise ConfigError(
                f"use_prune: {type(trainer).__name__}.build_model has not pruned the network. Let "
                f"it call prune_by_config(model, cfg) before build_model_parallel."
            )
        which = f" {number}" if options.prune_rounds > 1 else ""
        _report(report, f"pruned{which}", trainer, shape)
        logs = trainer.run()
        weights = _trained(trainer, settings, last=is_slim and number < options.prune_rounds)
        _report(report, f"trained on{which}", trainer, shape, weights, load=True)
    if trainer.is_main_process:
        report.write(is_finished=True)
        report.to_tensorboard(Path(get(first, "log_dir") or report.folder))
        logger.info("%s", report)
    return logs


def prune_by_config(model: nn.Module, cfg: Any) -> nn.Module:
    """Return the network pruned as the keys of ``cfg`` say; for ``build_model``, before wrapping.

    Args:
        model: The network with its trained weights.
        cfg: Has ``input_size``, and the keys of :class:`~basetrainer.pruning.options.PruneOptions`.
    """
    return prune_as(model, get(cfg, "input_size"), PruneOptions.from_cfg(cfg)).model


def _changed(cfg: Any, **values: Any) -> Any:
    """Return a copy of the settings with some of them changed."""
    cfg = copy.deepcopy(cfg)
    for name, value in values.items():
        put(cfg, name, value)
    return cfg


def _folders(first: Any, number: int) -> dict[str, str]:
    """Return the folders of a round, inside that of the first stage."""
    run = get(first, "work_dir")
    if not run:
        return {}
    # A name that ends as create_workspace() makes them: it leaves such folders as they are.
    stamp = re.search(r"_\d{8}_\d{6}_\d{4}$", str(run))
    folder = Path(run, f"pruned{number}{stamp[0] if stamp else ''}")
    folders = {"work_dir": str(folder)}
    for name in ("model", "log"):
        if get(first, f"{name}_dir"):
            folders[f"{name}_dir"] = str(folder / name)
    return folders


def _trained(trainer: EngineTrainer, settings: Any, *, last: bool = False) -> str:
    """Return the file of a stage's best weights, or of its last ones; on every rank."""
    file = None
    if trainer.is_main_process:
        savers = [one for one in trainer.callbacks if isinstance(one, ModelCheckpoint)]
        file = next((one.best_model for one in savers if one.best_model is not None), None)
        if file is None or last:
            folder = get(settings, "model_dir") or get(settings, "work_dir") or "."
            file = Path(create_dir(folder), "last.pth")
            with trainer.test_weights():
                state = full_state(trainer.model)
                write_atomically(file, lambda to: torch.save(state, to))
    # Also what makes the other ranks wait until the file is whole.
    return str(trainer.context.broadcast(file))


def _report(
    report: PruningReport,
    stage: str,
    trainer: EngineTrainer,
    shape: tuple[int, ...],
    weights: str = "",
    *,
    load: bool = False,
) -> None:
    """Test a stage's network and add it to the report."""
    test: Metrics = dict(report.known.get(stage, {}))
    if not test and trainer.test_loader is not None:
        test = trainer.test(weights if load else None)
    if trainer.is_main_process:
        report.add(stage, unwrap(trainer.model), shape, test, weights)
