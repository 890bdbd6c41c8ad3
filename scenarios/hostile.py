"""Give a run the files of somebody hostile, and see what reading them does."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch

from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.manifest import FileEntry, Manifest
from basetrainer.checkpoint.run_folder import CHECKPOINTS, MANIFEST, checkpoint_paths, run_progress
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.errors import BaseTrainerError
from basetrainer.models.finetune import finetune
from basetrainer.utils.setup_config import load_config
from scenarios import killable
from scenarios.hostile_files import FILES, GIANTS, MANIFESTS, MARK, PICKLES, STATE

PLACES = ("resume", "resume_model", "finetune", "test")


class Victim:
    """A run on disk, and the four ways in which its files are read.

    Args:
        folder: An empty one, the current one.
    """

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.cfg = {**killable.SETTINGS, "num_epochs": 1, "work_dir": str(self.run)}
        killable.main(self.cfg)
        self.checkpoint, *others = checkpoint_paths(self.run / CHECKPOINTS)
        for path in others:
            shutil.rmtree(path)
        (self.weights,) = (self.run / "model").glob("best_model_*")
        self.optimizer = self.run / "model" / "model_optimizer.pth"
        self.state = self.checkpoint / STATE
        files = (self.state, self.weights, self.optimizer)
        self._whole = {path: path.read_bytes() for path in files}
        self._manifest = Manifest.from_bytes((self.checkpoint / MANIFEST).read_bytes())

    def reader(self, place: str) -> tuple[Path, Callable[[], object]]:
        """Return the file that is read in a place, and what reads it."""
        trainer = killable.KillableTrainer({**self.cfg, "num_epochs": 2})
        saver = next(one for one in trainer.callbacks if isinstance(one, ModelCheckpoint))
        model, optimizer = trainer.model, trainer.optimizer
        if place == "resume":
            return self.state, trainer.run
        if place == "resume_model":
            folder = self.optimizer.parent
            return self.optimizer, lambda: saver.resume_model(model, optimizer, folder)
        if place == "finetune":
            return self.weights, lambda: finetune(model, self.weights)
        return self.weights, lambda: trainer.test(self.weights)

    def put(self, path: Path, case: str) -> None:
        """Write a hostile file; one of a checkpoint gets a manifest whose hashes are right."""
        path.unlink()  # the state has a second name
        path.write_bytes(self._whole[path])
        if case in FILES:
            FILES[case](path)
        else:
            content = torch.load(path, weights_only=True)
            evil = (PICKLES | GIANTS)[case]()
            if path == self.state:
                content["engine"]["callbacks"]["EMA"]["average"]["more"] = evil
            elif path == self.optimizer:
                next(iter(content["optimizer"]["state"].values()))["exp_avg"] = evil
            else:
                content[next(iter(content))] = evil
            torch.save(content, path)
        if path == self.state:
            data = path.read_bytes()
            entry = FileEntry(len(data), hashlib.sha256(data).hexdigest())
            signed = dataclasses.replace(self._manifest, files={STATE: entry})
            (self.checkpoint / MANIFEST).write_bytes(signed.to_bytes())

    def put_manifest(self, case: str) -> None:
        """Make the checkpoint anew, with a hostile manifest."""
        shutil.rmtree(self.checkpoint)
        self.checkpoint.mkdir()
        self.state.write_bytes(self._whole[self.state])
        (self.checkpoint / MANIFEST).write_bytes(self._manifest.to_bytes())
        MANIFESTS[case](self.checkpoint, self._manifest)

    def read_manifest(self) -> None:
        """Read it in all the ways in which it is read."""
        run_progress(self.run)
        CheckpointStore.verify(self.checkpoint)


@dataclasses.dataclass
class Outcome:
    """What a reader did with a hostile file."""

    error: BaseException | None
    executed: bool
    mebibytes: float
    seconds: float

    @property
    def is_clear(self) -> bool:
        """Whether it was refused in one line of ours, or what is wrong with it was left out."""
        return not self.executed and (
            self.error is None
            or (isinstance(self.error, BaseTrainerError) and "\n" not in str(self.error).strip())
        )


def outcome(read: Callable[[], object]) -> Outcome:
    """Let it be read."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, begin, error = memory("VmRSS"), time.perf_counter(), None
    try:
        read()
    except Exception as caught:
        error = caught
    seconds = time.perf_counter() - begin
    executed = Path(MARK).exists()
    Path(MARK).unlink(missing_ok=True)
    return Outcome(error, executed, max(0.0, memory("VmHWM") - before), seconds)


def read_yaml(text: str) -> None:
    """Read settings as a program does."""
    Path("hostile.yaml").write_text(text)
    load_config("hostile.yaml")


def memory(name: str) -> float:
    """Return one of this process's sizes, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
