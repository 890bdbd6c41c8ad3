"""Try a whole run in seconds, in a temporary folder, and tell what would go wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basetrainer._epochs import epoch_number
from basetrainer._logs import Logs
from basetrainer._metrics import flat_numbers
from basetrainer._monitor import deciding_monitor
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.config.settings import get
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.failures.diagnosis import described, diagnosed, nonfinite
from basetrainer.engine.preflight.estimate import Seconds, estimate
from basetrainer.engine.preflight.folders import (
    escaping,
    redirected,
    refuse_unwritable,
    target_folder,
)
from basetrainer.engine.preflight.report import DryRunReport
from basetrainer.engine.preflight.stage import (
    Probe,
    last_batch,
    temporary_folder,
    undisturbed,
    weight_sums,
)
from basetrainer.engine.resume.origin import find_origin
from basetrainer.engine.step import Step
from basetrainer.errors import CheckpointError, ConfigError, NonFiniteError

if TYPE_CHECKING:
    from basetrainer.engine.trainer import EngineTrainer

BATCHES = 2
"""Of training, and of each test set, in each of the two runs."""


def dry_run(make_trainer: Callable[[Any], EngineTrainer], cfg: Any) -> DryRunReport:
    """Try a whole run in seconds, and tell what would go wrong.

    A trainer is built from a copy of ``cfg`` whose folders are in a temporary one. It trains on 2
    batches, tests on 2, saves, verifies the checkpoint and draws its pictures. A second trainer
    resumes from the checkpoint, with the same weights, and does it again: what cannot be restored
    shows in its steps. A batch as small as the last one of an epoch goes through the network, too.
    What that took says what the real run needs. Nothing else is written, as long as the program
    takes its folders from ``create_workspace`` or from ``work_dir``, ``model_dir`` and ``log_dir``
    of ``cfg``; one whose callbacks write elsewhere is built, but not run. Generators, logging and
    ``cfg`` are as before.

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
        self._seconds: Seconds = {"train": [], "test": []}
        # What runs, for the text of an error:
        self._used_cfg = cfg
        self._trainer: EngineTrainer | None = None
        self._batch: Any = None
        self._place = "folder"

    def play(self) -> None:
        """Do one part after the other, as far as it goes."""
        try:
            self._check_folder()
            trainer = self._built()
            self._tell_data(trainer)
            self._train(trainer)
            self._check_checkpoint(trainer)
            self._resume(weight_sums(trainer.model))
            self._trainer = trainer
            self._try_last_batch(trainer)
            self._estimate(trainer)
        except Exception as error:
            if DistContext.current().world_size > 1:
                raise  # the other processes wait for this one: all must end
            text = diagnosed(error, self._used_cfg, self._trainer, self._batch)
            text = text.replace(str(self._folder), str(target_folder(self._cfg)))
            self._report.problems.append(f"{self._place}: {text}")

    def _check_folder(self) -> None:
        folder = target_folder(self._cfg)
        refuse_unwritable(folder)
        resume = get(self._cfg, "resume")
        if isinstance(resume, str) and resume.strip().lower() not in ("auto", "never", ""):
            find_origin(resume, CheckpointStore(self._folder), folder)

    def _built(self) -> EngineTrainer:
        """Make a trainer that takes no more than a few batches of each loader."""
        self._place, self._trainer = "build", None
        self._used_cfg = redirected(self._cfg, self._folder)
        trainer = self._trainer = self._make(self._used_cfg)
        trainer.progress = False
        trainer.max_batches = BATCHES
        trainer.observer = self._looked_at
        return trainer

    def _tell_data(self, trainer: EngineTrainer) -> None:
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

    def _train(self, trainer: EngineTrainer) -> None:
        before = weight_sums(trainer.model)
        trainer.num_epochs = 1
        logs = self._run(trainer)
        self._place = "after the epoch"
        after = weight_sums(trainer.model)
        still = [name for name in after if before[name] == after[name]]
        told = "".join(
            f", {name} {value:.4g}" for name, value in flat_numbers(logs.get("train")).items()
        )
        lines = self._report.lines
        lines["train"] = (
            f"{trainer.position.update} updates{told}, {len(after) - len(still)} of {len(after)} "
            f"weights changed"
        )
        if trainer.config.amp != "fp16":  # its scaler may leave out the first updates
            self._check_changes(still, len(after))
        tests = flat_numbers(logs.get("test"))
        none = "no tests" if trainer.test_loader is None else "no figures"
        lines["test"] = ", ".join(f"{name} {value:.4g}" for name, value in tests.items()) or none
        for name, value in tests.items():
            if not math.isfinite(value):
                raise NonFiniteError(f"the test figure {name} is {value}")
        if (monitor := deciding_monitor(trainer.callbacks)) is not None:
            lines["monitor"] = str(monitor)
        pictures = sorted(file.name for file in self._folder.rglob("*.png"))
        lines["pictures"] = ", ".join(pictures) or "none"

    def _check_changes(self, still: list[str], count: int) -> None:
        """Look for weights that did not learn."""
        if len(still) == count:
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

    def _check_checkpoint(self, trainer: EngineTrainer) -> None:
        self._place = "checkpoint"

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

    def _resume(self, saved: dict[str, tuple[float, float]]) -> None:
        trainer = self._built()
        probe = Probe()
        trainer.callbacks = [probe, *trainer.callbacks]
        trainer.num_epochs = 2
        self._run(trainer, "resume")
        self._place = "resume"
        if probe.epoch != 1:
            raise CheckpointError("the second run has begun anew instead of going on")
        if probe.weights != saved:
            raise CheckpointError("the second run goes on with other weights than were saved")
        self._report.lines["resume"] = (
            f"went on in epoch {epoch_number(probe.epoch)} with the same weights"
        )

    def _try_last_batch(self, trainer: EngineTrainer) -> None:
        """Run the step for a batch as small as the last one of an epoch, which no pass has seen."""
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

    def _estimate(self, trainer: EngineTrainer) -> None:
        self._place = "estimate"
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

    def _run(self, trainer: EngineTrainer, place: str = "before the first batch") -> Logs:
        self._place = place
        logs = trainer.run()
        self._batch = None
        return logs

    def _looked_at(self, batches: Iterable[Any], phase: str) -> Iterator[Any]:
        """Look at each batch on its way, and take the time."""
        begin = time.monotonic()
        for number, batch in enumerate(batches):
            self._batch, self._place = batch, f"{phase} batch {number}"
            self._report.lines.setdefault(f"{phase} data", described(batch))
            if bad := nonfinite(batch):
                self._report.problems.append(f"{self._place}: {bad}.")
            yield batch
            self._seconds[phase].append(time.monotonic() - begin)
            begin = time.monotonic()
        self._batch, self._place = None, f"after the last {phase} batch"
