"""EngineTrainer: an engine that knows how to build itself from six ``build_*`` methods."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader

from basetrainer.checkpoint.run_folder import run_progress
from basetrainer.config.settings import get
from basetrainer.data.loader import build_dataloader, seed_loader
from basetrainer.data.placed import length
from basetrainer.distributed.strategy import (
    build_model_parallel,
    check_precision,
    choosing,
    unwrap,
)
from basetrainer.engine import checks
from basetrainer.engine.base import Base
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.precision import speed_line
from basetrainer.engine.prediction import Prediction
from basetrainer.engine.resume.run_parts import note_beginning
from basetrainer.errors import ConfigError, UsageError
from basetrainer.models.structure import Structure, rebuilding, structure_of
from basetrainer.utils.posix import keep_freed_memory
from basetrainer.utils.torch_tools import set_env_random_seed

if TYPE_CHECKING:
    from basetrainer.engine.preflight.report import DryRunReport

logger = logging.getLogger(__name__)


class EngineTrainer(Prediction):
    """Subclass it, write the six ``build_*`` methods, call ``self.build(cfg)`` in ``__init__``.

    Args:
        cfg: See :class:`~basetrainer.engine.engine.Engine`.

    Attributes:
        train_num: Training samples; 0 where it is not known.
        test_num: Test samples, likewise.
        num_samples: The same as ``train_num``.
        num_steps: Batches of one epoch of this process; 0 where it is not known.
        is_main_process: With ``world_size`` and ``local_rank`` this process's place in the run.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.is_main_process = self.context.is_main
        if self.is_main_process:
            checks.warn_of_misspelt_keys(cfg)
        self.world_size = self.context.world_size
        self.local_rank = self.context.local_rank
        self.train_num = 0
        self.test_num = 0
        self.num_samples = 0
        self.num_steps = 0
        self._averages: list[Base] = []  # made by averaged_model
        if self.device.type != "cpu":
            torch.accelerator.set_device_index(self.device)
        elif self.config.keep_memory:
            # Not every system can; what is told of the run goes by this.
            self.config = dataclasses.replace(self.config, keep_memory=keep_freed_memory())
        set_env_random_seed(self.config.seed)

    def build(self, cfg: Any, **kwargs: Any) -> None:
        """Build loaders, model, criterion, optimizer and callbacks, in this order.

        Args:
            cfg: Handed to each ``build_*`` method.
            **kwargs: Likewise.

        Raises:
            ConfigError: If an epoch would have no step, or the model was not wrapped in a run of
                several processes.
        """
        checks.check_begun(self)
        with checks.telling_missing_keys(cfg):
            self._build(cfg, **kwargs)

    def _build(self, cfg: Any, **kwargs: Any) -> None:
        self.train_loader = self.build_train_loader(cfg, **kwargs)
        self.test_loader = self.build_test_loader(cfg, **kwargs)
        self._shard_loaders()
        self._count()
        spread = choosing(self.config.strategy, channels_last=self.config.channels_last)
        with rebuilding(self._structure_to_go_on_with(cfg)), spread:
            self.model = self._prepare(self.build_model(cfg, **kwargs))
        if get(cfg, "use_prune") and not structure_of(self.model):
            logger.warning(
                "use_prune: True, but %s.build_model returned a network that is not pruned. Let it "
                "call basetrainer.pruning.pipeline.prune_by_config(model, cfg).",
                type(self).__name__,
            )
        self.criterion = self.build_criterion(cfg, **kwargs)
        if isinstance(self.criterion, nn.Module):
            self.criterion.to(self.device)
        self.optimizer = self.build_optimizer(cfg, **kwargs)
        note_beginning(self)
        from basetrainer.callbacks.default_callbacks import add_default_callbacks

        given = checks.checked_callbacks(type(self).__name__, self.build_callbacks(cfg, **kwargs))
        self.callbacks = add_default_callbacks([*self._averages, *given], self.config, self.model)
        speed = speed_line(get(cfg, "amp"), self.config, self.device, self.optimizers)
        if speed:
            logger.info("speed   : %s", speed)
        if self.world_size > 1:
            # Replicas start alike, but what is drawn while training (dropout) differs by rank.
            set_env_random_seed(self.config.seed + 1_000_003 * self.context.rank)

    # -- yours to write ------------------------------------------------------------------------

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        """Return the loader of training batches; None to test and predict only."""
        raise NotImplementedError(_missing(self, "build_train_loader"))

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        """Return the loader of test batches, several of them by name, or None."""
        raise NotImplementedError(_missing(self, "build_test_loader"))

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        """Return the model, through :meth:`build_model_parallel`."""
        raise NotImplementedError(_missing(self, "build_model"))

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        """Return the optimizer, or a dict, list or tuple of several."""
        raise NotImplementedError(_missing(self, "build_optimizer"))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        """Return the loss, called with outputs and targets."""
        raise NotImplementedError(_missing(self, "build_criterion"))

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Sequence[Base | None] | None:
        """Return the callbacks, ``ModelCheckpoint`` last; None entries are left out."""
        raise NotImplementedError(_missing(self, "build_callbacks"))

    # -- helpers for them ----------------------------------------------------------------------

    @classmethod
    def build_dataloader(
        cls,
        dataset: Any,
        batch_size: int | None,
        num_workers: int | Literal["auto"],
        shuffle: bool = True,
        phase: str = "train",
        distributed: bool = True,
        **kwargs: Any,
    ) -> DataLoader[Any]:
        """Make a loader; see :func:`basetrainer.data.loader.build_dataloader`."""
        return build_dataloader(
            dataset, batch_size, num_workers, shuffle, phase, distributed, **kwargs
        )

    @classmethod
    def build_model_parallel(
        cls,
        model: nn.Module,
        device_ids: Sequence[int] | None = None,
        distributed: bool = True,
        **kwargs: Any,
    ) -> nn.Module:
        """Spread the model; see :func:`basetrainer.distributed.strategy.build_model_parallel`."""
        return build_model_parallel(model, device_ids, distributed, **kwargs)

    def averaged_model(self, decay: float | Callable[[int], float] | None = None) -> nn.Module:
        """Return a copy of the model whose weights follow it, to be read in training.

        The teacher of BYOL, MoCo or Mean Teacher: after each update
        ``average = decay * average + (1 - decay) * weights``. It is in eval mode, shares nothing
        that trains, and is resumed with the run. The first call makes it: write that in
        ``build_criterion`` or ``build_callbacks``, or after ``build``; later calls return the same
        module. What is tested and saved does not change; see ``ema_decay`` for that.

        Args:
            decay: From 0 to 1, or a function of the update, from 0; None is ``ema_decay`` of the
                config, or 0.999.

        Raises:
            ConfigError: If there is no model yet, or ``decay`` is out of range.
            UsageError: If the run has begun: it could not be resumed.
        """
        from basetrainer.callbacks.averaged_model import AveragedModel

        for one in [*self.callbacks, *self._averages]:
            if isinstance(one, AveragedModel):
                return one.module
        if self.model is None:
            raise ConfigError(
                "averaged_model: there is no model yet. Call it in build_criterion or "
                "build_callbacks, or after self.build(cfg)."
            )
        if self._is_running:
            raise UsageError(
                "averaged_model was first called when the run had begun, so it could not be "
                "resumed. Call it in build_callbacks, too."
            )
        if decay is None:
            decay = 0.999 if self.config.ema_decay is None else self.config.ema_decay
        made = AveragedModel(self.model, decay)
        self._averages.append(made)
        self.callbacks.insert(0, made)
        return made.module

    # -- beside training -----------------------------------------------------------------------

    def dry_run(self) -> DryRunReport:
        """Try the whole run in seconds.

        See :func:`basetrainer.engine.preflight.dry_run.dry_run`.
        """
        from basetrainer.engine.preflight.dry_run import dry_run

        return dry_run(type(self), self.cfg)

    def explain(self) -> str:
        """Say what ``run()`` will do; see :func:`basetrainer.engine.preflight.explain.explain`."""
        from basetrainer.engine.preflight.explain import explain

        return explain(self)

    # -- inside --------------------------------------------------------------------------------

    def _structure_to_go_on_with(self, cfg: Any) -> Structure | None:
        """Return that of the pruned network of a run that goes on: it is not pruned again."""
        resume, work_dir = self.config.resume, get(cfg, "work_dir")
        if resume == "never" or not work_dir:
            return None
        progress = run_progress(Path(work_dir))
        if progress is None and resume != "auto":
            progress = run_progress(Path(resume))
        return progress.structure if progress is not None else None

    def _count(self) -> None:
        """Fill the counters, and refuse an epoch without steps."""
        tests = [one for one in named_test_sets(self.test_loader).values() if one is not None]
        trains = [] if self.train_loader is None else [self.train_loader]
        for loader in (*trains, *tests):
            checks.check_loader(loader, self.config)
            seed_loader(loader, self.config.seed)
        self.train_num = self.num_samples = length(getattr(self.train_loader, "dataset", None))
        self.test_num = sum(length(getattr(one, "dataset", None)) for one in tests)
        if not trains:
            self.num_steps = 0
            return
        steps = length(self.train_loader, default=-1)
        if steps == 0 and isinstance(self.train_loader, DataLoader):  # others may not know it
            raise ConfigError(
                f"The training loader has {self.train_num} samples but no batch, so an epoch would "
                f"have no step. Lower batch_size, or set drop_last to False."
            )
        self._count_steps()

    def _count_steps(self) -> None:
        """Count what an epoch has now: a dataset may have grown since the last one."""
        self.train_num = self.num_samples = length(getattr(self.train_loader, "dataset", None))
        self.num_steps = self.config.steps_per_epoch or length(self.train_loader)

    def _prepare(self, model: nn.Module) -> nn.Module:
        """Check how the model is spread; lay it out and compile it as asked."""
        several = self.world_size > 1 and self.config.strategy != "single"
        checks.check_model(type(self).__name__, model, self.world_size if several else 1)
        check_precision(model, self.config.amp)
        inner = unwrap(model)
        if not several:
            inner.to(self.device)
        if self.config.channels_last:
            inner.to(memory_format=torch.channels_last)
        if self.config.compile:
            inner.compile()  # in place: the keys of the state dict stay as they are
        return model


def _missing(trainer: EngineTrainer, method: str) -> str:
    return f"{type(trainer).__name__} must implement {method}(self, cfg, **kwargs)."
