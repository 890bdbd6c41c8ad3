"""A disk that is really full: whatever was there before stays whole, and the message says it."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from basetrainer.callbacks.history.line_file import LineFile
from basetrainer.callbacks.weights.weight_files import WeightFiles, save
from basetrainer.checkpoint.manifest import Manifest
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.errors import StorageError
from basetrainer.utils.log import set_logger
from scenarios import killable

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True) if _can_mount() else None
    if done is None or done.returncode:
        pytest.skip(f"needs to mount a small disk: {done.stderr if done else sys.platform}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _can_mount() -> bool:
    return sys.platform == "linux"


def fill(disk: Path, leave: int = 0) -> Path:
    """Leave so many bytes free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() - leave))
    return filler


def tree(mebibytes: float, text: str = "") -> dict[str, Any]:
    return {"weight": torch.rand(int(mebibytes * MIB / 4)), "text": text}


# Tensors are counted before anything is written; a text shows only when the disk is full of it.
GROWING = [tree(1.5), tree(0.1, "x" * MIB + "y" * MIB)]


def write(store: CheckpointStore, large: Any, *, in_background: bool) -> None:
    store.write(large, Manifest({"update": 3}, {}), in_background=in_background)
    store.wait()


@pytest.mark.parametrize("large", GROWING, ids=["counted before", "in the middle"])
@pytest.mark.parametrize("in_background", [False, True])
def test_older_checkpoints_stay_whole_and_nothing_else(disk, large, in_background):
    store = CheckpointStore(disk / "checkpoints")
    for update in (1, 2):
        store.write(tree(1.3), Manifest({"update": update}, {}))
    with pytest.raises(StorageError) as caught:
        write(store, large, in_background=in_background)
    said = str(caught.value)
    assert str(disk / "checkpoints") in said
    assert "o space left on device" in said
    assert "bytes are free" in said
    assert f"needs {large['weight'].nbytes:,} bytes" in said
    names = ["update-00000002", "update-00000001"]
    assert [path.name for path, _ in store.good()] == names
    assert sorted(path.name for path in (disk / "checkpoints").iterdir()) == sorted(names)


@pytest.mark.parametrize("large", GROWING, ids=["counted before", "in the middle"])
def test_older_files_of_weights_stay_whole_and_nothing_else(disk, large):
    files = WeightFiles(disk)
    before = tree(1.4)
    files.replace("latest_model", 0, None, before)
    files.replace("best_model", 0, 90.0, tree(1.4))
    with pytest.raises(StorageError) as caught:
        files.replace("latest_model", 1, None, large)
    said = str(caught.value)
    assert "No space left on device" in said
    assert "latest_model_001.pth" in said
    assert "bytes are free" in said
    assert f"needs {large['weight'].nbytes:,} bytes" in said
    assert sorted(path.name for path in disk.iterdir()) == [
        "best_model_000_90.0000.pth",
        "latest_model_000.pth",
    ]
    found = torch.load(disk / "latest_model_000.pth", weights_only=True)
    assert torch.equal(found["weight"], before["weight"])


def test_a_file_that_is_replaced_stays_as_it_was(disk):
    path = disk / "model_optimizer.pth"
    save(path, tree(1.5, "old"))
    with pytest.raises(StorageError):
        save(path, tree(0.1, "x" * 3 * MIB))
    assert torch.load(path, weights_only=True)["text"] == "old"
    assert list(disk.iterdir()) == [path]


class Filling(killable.KillableTrainer):
    """Fills its disk when the second epoch begins."""

    disk: Path

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        if epoch == 1:
            fill(self.disk)


def test_a_run_ends_with_the_reason_and_goes_on_when_there_is_room(disk, tmp_path, caplog):
    killable.main({"work_dir": str(tmp_path / "whole"), "num_epochs": 3})
    cfg = {"work_dir": str(disk / "run"), "num_epochs": 3}
    trainer = Filling({**killable.SETTINGS, **cfg})
    trainer.disk = disk
    with pytest.raises(StorageError, match=r"o space left on device"):
        trainer.run()
    (disk / "filler").unlink()
    assert not [path for path in disk.rglob("*") if "tmp" in path.name]
    killable.main(cfg)
    for name in ("final.json", "log/results.csv"):
        assert (disk / "run" / name).read_text() == (tmp_path / "whole" / name).read_text()
    for line in (disk / "run" / "log" / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)


def test_lines_without_room_are_one_warning_and_come_when_there_is_some(disk, caplog):
    file = LineFile(disk / "results.csv")
    file.append("epoch,loss\n")
    file.append("0,1.5\n")
    filler = fill(disk)
    long = "1," + "x" * 8192 + "\n"
    file.append(long)
    file.append("2,0.5\n")
    assert (disk / "results.csv").read_text() == "epoch,loss\n0,1.5\n"
    assert caplog.text.count("No space left on device") == 1
    filler.unlink()
    file.append("3,0.4\n")
    with (disk / "results.csv").open() as rows:
        assert [row[0] for row in csv.reader(rows)] == ["epoch", "0", "1", "2", "3"]


def test_a_log_without_room_is_one_line_on_the_screen(disk, capsys):
    logger = set_logger("full", logfile=disk / "train.log")
    filler = fill(disk)
    for number in range(3):
        logger.info("line %d %s", number, "x" * 5000)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.count("train.log: No space left on device; the log has gaps") == 1
    filler.unlink()
    logger.info("there is room")
    set_logger("full")  # closes the file
    assert "there is room\n" in (disk / "train.log").read_text()
    logging.getLogger("full").handlers.clear()
