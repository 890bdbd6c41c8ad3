"""Give a run the files of somebody hostile: nothing may be executed, little memory taken.

    python -m benchmarks.hostile

Each file stands in turn in the place of the state of a checkpoint (with a manifest whose hashes
are right), of ``model_optimizer.pth`` and of the weights for ``finetune`` and ``trainer.test``.
Then come manifests and YAML files. Memory is the peak above what the process had before, whose
address space may grow by 2 GiB.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.manifest import FileEntry, Manifest
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.errors import BaseTrainerError
from basetrainer.models.finetune import finetune
from basetrainer.utils.run_folder import CHECKPOINTS, MANIFEST, checkpoint_paths, run_progress
from basetrainer.utils.setup_config import load_config
from benchmarks import killable
from benchmarks.hostile_files import FILES, GIANTS, MANIFESTS, MARK, PICKLES, STATE, YAMLS

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
    before, begin, error = _memory("VmRSS"), time.perf_counter(), None
    try:
        read()
    except Exception as caught:
        error = caught
    seconds = time.perf_counter() - begin
    executed = Path(MARK).exists()
    Path(MARK).unlink(missing_ok=True)
    return Outcome(error, executed, max(0.0, _memory("VmHWM") - before), seconds)


def outcomes(victim: Victim) -> Iterator[tuple[str, str, Outcome]]:
    """Yield what came of each file in each place."""
    for case in (*PICKLES, *GIANTS, *FILES):
        for place in PLACES:
            path, read = victim.reader(place)
            victim.put(path, case)
            yield case, place, outcome(read)
    for case in MANIFESTS:
        victim.put_manifest(case)
        yield case, "manifest", outcome(victim.read_manifest)
    for case, text in YAMLS.items():
        yield case, "YAML", outcome(functools.partial(read_yaml, text))


def read_yaml(text: str) -> None:
    """Read settings as a program does."""
    Path("hostile.yaml").write_text(text)
    load_config("hostile.yaml")


def main() -> None:
    """Print a table."""
    logging.lastResort = None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        victim = Victim(Path(folder))
        limit = int(_memory("VmSize") * 2**20) + (2 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        found = list(outcomes(victim))
        os.chdir("/")
    print("| file | place | executed | MiB | s | what was said |")
    print("|---|---|---|---|---|---|")
    for case, place, one in found:
        said = str(one.error).replace(folder, "") if one.error else "(left out, and said)"
        row = (case, place, "YES" if one.executed else "no", f"{one.mebibytes:.0f}")
        print(f"| {' | '.join(row)} | {one.seconds:.2f} | {said} |")
    clear = sum(one.is_clear for *_, one in found)
    most, longest = (
        max(getattr(one, name) for *_, one in found) for name in ("mebibytes", "seconds")
    )
    print(
        f"\n{len(found)} readings: {sum(one.executed for *_, one in found)} executed something, "
        f"{clear} were answered in one line; at most {most:.0f} MiB and {longest:.1f} s each"
    )
    sys.exit(clear < len(found))


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
