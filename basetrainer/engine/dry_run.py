"""Try a whole run in seconds, in a temporary folder, and tell what would go wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.config.settings import get
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.diagnosis import described, diagnosed, nonfinite
from basetrainer.engine.dry_folders import escaping, redirected, refuse_unwritable, target_folder
from basetrainer.engine.dry_report import DryRunReport
from basetrainer.engine.dry_stage import (
    Probe,
    figures,
    fingerprints,
    last_batch,
    temporary_folder,
    undisturbed,
)
from basetrainer.engine.estimate import Seconds, estimate
from basetrainer.engine.resume import find_origin
from basetrainer.engine.step import Step
from basetrainer.errors import CheckpointError, ConfigError, NonFiniteError
from basetrainer.utils.monitor import deciding_monitor

if TYPE_CHECKING:
    from basetrainer.engine.trainer import EngineTrainer

BATCHES = 2
"""Of training, and of each test set, in each of the two passes."""


def dry_run(make_trainer: Callable[[Any], EngineTrainer], cfg: Any) -> DryRunReport:
    """Try a whole run in seconds, and tell what would go wrong.

    A trainer is built from a copy of ``cfg`` whose folders are in a temporary one. It trains on 2
    batches, tests on 2, saves, verifies the checkpoint and draws its pictures. A second trainer
    goes on from the checkpoint with the same weights and does it again. A batch as small as the
    last one of an epoch goes through the network, too. What that took says what
    the real run needs. Nothing else is written, as long as the program takes its folders from
    ``create_workspace`` or from ``work_dir``, ``model_dir`` and ``log_dir`` of ``cfg``; one whose
    callbacks write elsewhere is built, but not run. Generators, logging and ``cfg`` are as before.

    An epoch that a program trains in its own way, without ``self.batches``, is trained whole.

    Args:
        make_trainer: The class of the trainer, or what else makes one from a configuration.
        cfg: The settings; they are not changed.

    Returns:
        What was found, as a table for ``print``; its ``checked()`` logs the table. In a run of
        several processes an error is raised.
    """
    begin = time.monotonic()
    report = DryRunReport(getattr(make_trainer, "__name__", type(make_trainer).__name__))
    context = DistContext.current()
    with undisturbed(report), temporary_folder(context) as folder:
        _Rehearsal(make_trainer, cfg, folder, report).play()
    report.seconds = time.monotonic() - begin
    return report


class _Rehearsal:
    """One dry run, part by part; a part that fails ends it."""

    def __init__(
        self,
        make_trainer: Callable[[Any], EngineTrainer],
        cfg: Any,
        folder: Path,
        report: DryRunReport,
    ) -> None:
        self._make = make_trainer
        self._cfg = cfg
        self._folder = folder
        self._report = report
        self._seconds = Seconds()
        self._used_cfg = cfg
        self._trainer: EngineTrainer | None = None
        self._batch: Any = None
        self._place = ""
        self._weights: dict[str, tuple[float, float]] = {}

    def play(self) -> None:
        """Do one part after the other, as far as it goes."""
        parts = (
            self._check_folder,
            self._build,
            self._train,
            self._check_checkpoint,
            self._go_on,
            self._try_last_batch,
            self._estimate,
        )
        for part in parts:
            try:
                part()
            except Exception as error:
                if DistContext.current().world_size > 1:
                    raise  # the other processes wait for this one: all must end
                text = diagnosed(error, self._used_cfg, self._trainer, self._batch)
                text = text.replace(str(self._folder), str(target_folder(self._cfg)))
                self._report.problems.append(f"{self._place}: {text}")
                return

    def _check_folder(self) -> None:
        self._place = "folder"
        folder = target_folder(self._cfg)
        refuse_unwritable(folder)
        resume = get(self._cfg, "resume")
        if isinstance(resume, str) and resume.strip().lower() not in ("auto", "never", ""):
            find_origin(resume, CheckpointStore(self._folder), folder)

    def _build(self) -> None:
        trainer = self._trainer = self._made()
        outside = escaping(trainer.callbacks, self._folder)
        if outside:
            raise ConfigError(
                f"{outside}, which is not taken from cfg.work_dir, model_dir or log_dir: a dry run "
                f"would write there, too. Take the folder from cfg."
            )
        parameters = sum(one.numel() for one in unwrap(trainer.model).parameters())
        self._report.lines["build"] = (
            f"{parameters:,} parameters, {trainer.train_num:,} training and "
            f"{trainer.test_num:,} test samples, {trainer.world_size} x {trainer.device}"
        )
        batch_size = getattr(trainer.train_loader, "batch_size", None) or 0
        if 0 < trainer.train_num < batch_size:
            self._report.warnings.append(
                f"batch_size {batch_size} is more than the {trainer.train_num} training samples: "
                f"each epoch is one step."
            )

    def _train(self) -> None:
        trainer = self._present()
        before = fingerprints(trainer.model)
        trainer.num_epochs = 1
        self._place = "before the first batch"
        logs = trainer.run()
        self._batch, self._place = None, "after the epoch"
        after = self._weights = fingerprints(trainer.model)
        steps = trainer.position.update
        changed = sum(before[name] != after[name] for name in after)
        told = "".join(f", {name} {figure:.4g}" for name, figure in figures(logs.get("train")))
        self._report.lines["train"] = f"{steps} updates{told}, {changed} of {len(after)} weights"
        self._report.lines["train"] += " changed"
        self._check_changes(before, after, trainer)
        self._check_figures(logs)
        if (monitor := deciding_monitor(trainer.callbacks)) is not None:
            self._report.lines["monitor"] = str(monitor)
        pictures = sorted(file.name for file in self._folder.rglob("*.png"))
        self._report.lines["pictures"] = ", ".join(pictures) or "none"

    def _check_changes(self, before: Any, after: Any, trainer: EngineTrainer) -> None:
        """Look for weights that did not learn."""
        if trainer.config.amp == "fp16":
            return  # its scaler may leave out the first updates
        still = [name for name in after if before[name] == after[name]]
        if len(still) == len(after):
            self._report.problems.append(
                "train: no weight has changed. Is lr 0, are all layers frozen, or does the "
                "optimizer have the parameters of another network?"
            )
        elif still:
            more = " and more" if len(still) > 3 else ""
            self._report.warnings.append(
                f"{len(still)} weights have not changed: {', '.join(still[:3])}{more}. If they are "
                f"to learn, look for them in the optimizer, and in what the loss is made of."
            )

    def _check_figures(self, logs: Logs) -> None:
        """Tell the figures of the tests, and refuse those that are no numbers."""
        told = []
        for name, figure in figures(logs.get("test")):
            told.append(f"{name} {figure:.4g}")
            if not math.isfinite(figure):
                raise NonFiniteError(f"the test figure {name} is {figure}")
        has_tests = self._trainer is not None and self._trainer.test_loader is not None
        self._report.lines["test"] = ", ".join(told) or ("no figures" if has_tests else "no tests")

    def _check_checkpoint(self) -> None:
        self._place = "checkpoint"
        trainer = self._present()

        def verified() -> str:
            store = trainer.checkpointer.store if trainer.checkpointer is not None else None
            newest = store.newest() if store is not None else None
            if store is None or newest is None:
                raise CheckpointError("the run has left no checkpoint")
            manifest = store.verify(newest)
            size = sum(entry.bytes for entry in manifest.files.values())
            return f"{newest.name}, {size:,} bytes, verified"

        # The one that has written it: to the others it may not be there yet.
        self._report.lines["checkpoint"] = trainer.context.on_main(verified)

    def _go_on(self) -> None:
        self._place = "resume"
        first, self._trainer = self._present(), None
        second = self._trainer = self._made()
        probe = Probe()
        second.callbacks = [probe, *second.callbacks]
        second.num_epochs = 2
        self._place = "resume"
        second.run()
        self._batch, self._place = None, "resume"
        if probe.epoch != 1:
            raise CheckpointError("the second run has begun anew instead of going on")
        if probe.weights != self._weights:
            raise CheckpointError("the second run goes on with other weights than were saved")
        self._report.lines["resume"] = (
            f"went on in epoch {epoch_number(probe.epoch)} with the same weights"
        )
        self._trainer = first

    def _try_last_batch(self) -> None:
        """Run the step for a batch as small as the last one of an epoch, which no pass has seen."""
        trainer = self._present()
        batch, size = last_batch(trainer.train_loader)
        is_own_step = type(trainer).train_step is not Step.train_step
        if not size or is_own_step or trainer.world_size > 1:
            return
        samples = "1 sample" if size == 1 else f"{size} samples"
        self._batch, self._place = batch, f"last batch of an epoch, {samples}"
        trainer.model.train()
        try:
            with torch.no_grad(), trainer.forward_context():
                trainer.run_step(trainer.to_device(batch))
        except Exception as error:
            text = diagnosed(error, self._used_cfg, trainer, batch).rstrip(".")
            self._report.problems.append(
                f"{self._place}: {text}. Give build_dataloader(drop_last=True), or choose another "
                f"batch_size."
            )
        self._batch = None

    def _estimate(self) -> None:
        self._place = "estimate"
        trainer = self._present()
        num_epochs = EngineConfig.from_cfg(self._cfg).num_epochs
        real = target_folder(self._cfg)
        found = estimate(trainer, self._seconds, num_epochs, self._folder, real)
        self._report.estimate = found
        self._report.lines["estimate"] = str(found)
        if found.disk > found.free:
            self._report.problems.append(
                f"disk: the run needs about {found.disk:,} bytes, but {real} has {found.free:,} "
                f"left. Make room, or lower keep_last, keep_best or ModelCheckpoint's model_nums."
            )

    def _made(self) -> EngineTrainer:
        """Make a trainer that sees no more than a few batches of each loader."""
        self._place = "build"
        self._used_cfg = redirected(self._cfg, self._folder)
        trainer = self._make(self._used_cfg)
        trainer.progress = False
        trainer.batches = self._few  # type: ignore[method-assign]
        return trainer

    def _few(self, loader: Iterable[Any], title: str) -> Iterator[Any]:
        """Yield the first batches, with a look at each, and take the time."""
        phase = "train" if title.startswith("Train") else "test"
        found = self._seconds.train if phase == "train" else self._seconds.test
        begin = time.monotonic()
        for number, batch in enumerate(islice(loader, BATCHES)):
            self._batch, self._place = batch, f"{phase} batch {number}"
            if f"{phase} data" not in self._report.lines:
                self._report.lines[f"{phase} data"] = described(batch)
            if bad := nonfinite(batch):
                self._report.problems.append(f"{self._place}: {bad}.")
            yield batch
            found.append(time.monotonic() - begin)
            begin = time.monotonic()
        self._batch, self._place = None, f"after the last {phase} batch"

    def _present(self) -> EngineTrainer:
        if self._trainer is None:
            raise AssertionError("the trainer is built first")
        return self._trainer
