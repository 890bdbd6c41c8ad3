"""What a save costs: ResNet-18 with momentum and averaged weights, 134 MB.

    python -m benchmarks.save_cost [ROUNDS]

Compared with ``torch.save`` of the same state, and with a clone of its tensors. A save is all that
an epoch's end writes: the checkpoint, ``model_optimizer.pth``, and the weights as latest and best
model. The disk is settled (``sync``) before each.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import basetrainer as bt
from basetrainer.checkpoint.tree import size_of, tensors_of
from basetrainer.engine.resume.checkpointer import Checkpointer
from basetrainer.engine.resume.state import collect
from benchmarks.timing import interleaved, spread


class Trainer(bt.EngineTrainer):
    """ResNet-18 on two images."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = TensorDataset(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
        return self.build_dataloader(data, 2, 0)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_train_loader(cfg)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(
            bt.get_models("resnet18", [32, 32], 1000, pretrained=False)
        )

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        folder = Path(cfg["work_dir"], "model")
        self.saver = bt.ModelCheckpoint(
            self.model, self.optimizer, folder, 100, indicator="loss", mode="min", model_nums=0
        )
        return [bt.LossesRecorder(), self.saver]


def trained(folder: Path, **more: Any) -> tuple[Trainer, Checkpointer, bt.Logs]:
    """Return a trainer after one update, so that every state is there."""
    cfg = {"work_dir": str(folder), "resume": "auto", "ema_decay": 0.999, "progress": False, **more}
    trainer = Trainer(cfg)
    logs = trainer.run()
    assert trainer.checkpointer is not None  # noqa: S101 # resume is auto
    return trainer, trainer.checkpointer, logs


def bytes_on_disk(folder: Path) -> int:
    """Return what the files of a folder take, several names of one file counted once."""
    found = {path.stat().st_ino: path.stat().st_blocks * 512 for path in folder.rglob("*.p*")}
    return sum(found.values())


def main(rounds: int = 15) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trainer, checkpointer, logs = trained(folder / "sync")
        _later, in_background, _ = trained(folder / "async", async_save=True)
        tree = collect(trainer, logs)
        epochs, numbers = itertools.count(1), itertools.count()

        def save() -> None:
            logs["test"]["loss"] = -float(epoch := next(epochs))  # each epoch is the best
            trainer.saver.on_epoch_end(epoch, logs)
            checkpointer.save(at_epoch_end=True)

        def settle() -> None:
            checkpointer.store.wait()
            in_background.store.wait()
            os.sync()

        def plain() -> None:
            # A file of its own each time, of which two stay, as with checkpoints: to write into
            # memory that the system has at hand would be cheaper.
            number = next(numbers)
            torch.save(tree, folder / f"plain{number}.pt")
            (folder / f"plain{number - 2}.pt").unlink(missing_ok=True)

        def clone() -> None:
            kept = [tensor.clone() for _, tensor in tensors_of(tree)]
            del kept

        samples = interleaved(
            {
                "torch.save": plain,
                "save": save,
                "checkpoint alone": lambda: checkpointer.save(),
                "clone": clone,
                "async": lambda: in_background.save(),
            },
            rounds,
            settle,
        )
        settle()
        print(f"state: {size_of(tree) / 1e6:.0f} MB of tensors; {rounds} rounds in turn\n")
        print("| what | ms: median (quartiles) | bar |")
        print("|---|---|---|")
        middle = {key: statistics.median(values) for key, values in samples.items()}
        bars = {
            "torch.save": "",
            "save": f"{2 * middle['torch.save'] + 50:.0f}",
            "checkpoint alone": "",
            "clone": "",
            "async": f"{1.5 * middle['clone']:.0f}",
        }
        for key, bar in bars.items():
            print(f"| {TITLES[key]} | {spread(samples[key])} | {bar} |")
        files = list((folder / "sync").rglob("*.p*"))
        megabytes = bytes_on_disk(folder / "sync") / 1e6
        print(f"\non disk: {megabytes:.0f} MB in {len(files)} files: two checkpoints, three .pth")


TITLES = {
    "torch.save": "`torch.save` of the state, no flush to the disk",
    "save": "a save: checkpoint, latest and best model, flushed",
    "checkpoint alone": "a checkpoint within an epoch, flushed",
    "clone": "a clone of the tensors",
    "async": "what `async_save` stops the training for",
}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
