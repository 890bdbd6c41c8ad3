"""CheckpointStore: whole or not at all, verified, the right ones kept."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from basetrainer.checkpoint.manifest import FileEntry, Manifest
from basetrainer.checkpoint.run_folder import MANIFEST, run_progress
from basetrainer.checkpoint.store import STATE, CheckpointStore
from basetrainer.errors import CheckpointError, StorageError

TREE = {"model": {"weight": torch.arange(6.0)}, "text": "x"}


def manifest(update: int, **more: Any) -> Manifest:
    return Manifest({"epoch": update // 10, "step": 0, "update": update}, {}, **more)


def written(folder: Path, *updates: int, **options: Any) -> CheckpointStore:
    store = CheckpointStore(folder, **options)
    for update in updates:
        store.write(TREE, manifest(update))
    store.wait()
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_found_verified_and_loaded(tmp_path):
    store = written(tmp_path / "new" / "checkpoints", 5)
    ((path, found),) = store.good()
    assert path.name == "update-00000005"
    assert found.position == {"epoch": 0, "step": 0, "update": 5}
    assert found.written
    loaded = store.load(path)
    assert torch.equal(loaded["model"]["weight"], TREE["model"]["weight"])  # type: ignore[index]


def test_the_newest_ones_stay(tmp_path):
    written(tmp_path, 1, 2, 30, 100000000, keep_last=2, keep_best=0)
    assert names(tmp_path) == ["update-00000030", "update-100000000"]


@pytest.mark.parametrize(("larger", "best"), [(True, 2), (False, 1)])
def test_the_best_stays_besides_and_a_figure_of_0_counts(tmp_path, larger, best):
    store = CheckpointStore(tmp_path, keep_last=1, keep_best=1)
    for update, figure in ((1, 0.0), (2, 0.9), (3, None), (4, 0.5), (5, 0.4)):
        store.write(TREE, manifest(update, figure=figure, larger_is_better=larger))
    store.wait()
    assert names(tmp_path) == [f"update-{best:08d}", "update-00000005"]


def test_a_second_checkpoint_of_an_update_does_not_replace_the_first(tmp_path):
    store = written(tmp_path, 7, 7)
    assert names(tmp_path) == ["update-00000007", "update-00000007.1"]
    assert [path.name for path, _ in store.good()] == ["update-00000007.1", "update-00000007"]


@pytest.mark.parametrize("file", [STATE, MANIFEST])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path, file, harm, caplog):
    store = written(tmp_path, 1, 2)
    path = tmp_path / "update-00000002" / file
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 4
    path.write_bytes({"flip": data, "cut": data[:-1]}.get(harm, b""))
    if harm == "gone":
        path.unlink()
    (good,) = store.good()
    assert good[0].name == "update-00000001"
    assert str(path) in caplog.text


def test_nothing_is_removed_while_the_new_one_is_not_verified(tmp_path, monkeypatch):
    store = written(tmp_path, 1, keep_last=1, keep_best=0)

    def faulty(path: Path) -> Manifest:
        raise CheckpointError("is damaged")

    monkeypatch.setattr(CheckpointStore, "verify", staticmethod(faulty))
    store.write(TREE, manifest(2))
    with pytest.raises(StorageError, match="older checkpoints were left alone"):
        store.wait()
    assert names(tmp_path) == ["update-00000001", "update-00000002"]


def test_a_full_disk_leaves_the_old_ones_and_nothing_half_written(tmp_path, monkeypatch):
    store = written(tmp_path, 1)

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        store.write(TREE, manifest(2))
    monkeypatch.undo()
    assert names(tmp_path) == ["update-00000001"]
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "No space left" in message
    assert "bytes are free" in message
    assert next(store.good())[1].position["update"] == 1


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(StorageError, match=r"no space left .*\(10 bytes are free\).* 24 bytes"):
        written(tmp_path / "c", 1)
    assert names(tmp_path / "c") == []


def test_what_a_killed_run_left_is_cleaned_away(tmp_path):
    store = written(tmp_path, 1)
    for name in (".tmp-update-00000002-1-ab", ".trash-update-00000000-cd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / STATE).touch()
    store.clean()
    assert names(tmp_path) == ["update-00000001"]


def test_checkpoints_beyond_a_point_are_put_aside_not_removed(tmp_path):
    store = written(tmp_path, 1, 2, 3, keep_last=3)
    store.abandon_after(1)
    assert [path.name for path, _ in store.good()] == ["update-00000001"]
    assert sum(name.startswith("abandoned-update-0000000") for name in names(tmp_path)) == 2


def test_a_copy_of_the_state_and_the_checkpoint_stay_whole_whatever_is_done_to_the_other(tmp_path):
    copy = tmp_path / "model_optimizer.pth"
    store = CheckpointStore(tmp_path / "c", keep_last=1, keep_best=0)
    store.write(TREE, manifest(1), copies=[copy])
    store.wait()
    whole = copy.read_bytes()
    with copy.open("r+b") as file:
        file.truncate(10)
    ((path, _),) = store.good()
    assert (path / STATE).read_bytes() == whole
    store.write(TREE, manifest(2), copies=[copy])
    store.write({**TREE, "text": "y"}, manifest(3))  # removes the checkpoint before
    store.wait()
    assert torch.load(copy, weights_only=True)["text"] == "x"


def test_the_best_are_those_by_the_metric_of_the_newest(tmp_path):
    store = CheckpointStore(tmp_path, keep_last=1, keep_best=1)
    rated = [("", 0.3), ("Acc", 90.0), ("score", 0.5), ("score", 0.4)]
    kept = []
    for update, (metric, figure) in enumerate(rated, start=1):
        store.write(TREE, manifest(update, metric=metric, figure=figure))
        store.wait()
        kept.append([int(name[-1]) for name in names(tmp_path)])
    # A manifest of old does not say its metric; 90 percent is no better score than 0.5.
    assert kept == [[1], [2], [3], [3, 4]]


def test_a_copy_that_cannot_be_written_is_told_apart_from_the_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path)
    link = tmp_path / "gone" / "model_optimizer.pth"
    with pytest.raises(StorageError, match=r"model_optimizer.pth cannot be written.*is whole"):
        store.write(TREE, manifest(1), copies=[link])
    ((path, _),) = store.good()
    assert path == store.newest()


def test_writing_in_the_background_writes_the_same(tmp_path):
    store = CheckpointStore(tmp_path)
    for update in (1, 2, 3):
        store.write(TREE, manifest(update), in_background=True)
    store.wait()
    assert [path.name for path, _ in store.good()] == ["update-00000003", "update-00000002"]


def with_manifest(folder: Path, data: bytes) -> Path:
    folder.mkdir()
    (folder / MANIFEST).write_bytes(data)
    return folder


@pytest.mark.parametrize("name", ["../state.pt", "/etc/passwd", "a/b", "..", "", "state.pt\0"])
def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path, name):
    entry = FileEntry(1, "0" * 64)
    data = Manifest({"update": 1}, {name: entry, STATE: entry}).to_bytes()
    with pytest.raises(CheckpointError, match="no plain file name"):
        CheckpointStore.verify(with_manifest(tmp_path / "c", data))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"sha256": 3}', b"[" * 100_000])
def test_what_is_no_manifest_is_said_to_be_none(tmp_path, data):
    with pytest.raises(CheckpointError, match=r"manifest.json is cut off or no manifest"):
        CheckpointStore.verify(with_manifest(tmp_path / "c", data))


def test_a_later_format_is_refused_with_the_mend(tmp_path):
    data = Manifest({"update": 1}, {STATE: FileEntry(1, "")}, format=99).to_bytes()
    with pytest.raises(CheckpointError, match=r"format 99; .*update basetrainer"):
        CheckpointStore.verify(with_manifest(tmp_path / "c", data))


def test_the_progress_of_a_run_is_read_without_its_tensors(tmp_path):
    assert run_progress(tmp_path) is None
    store = CheckpointStore(tmp_path / "checkpoints")
    config = {"num_epochs": 3}
    store.write(TREE, manifest(20, config=config, ended="enough", resumed_from="there"))
    store.wait()
    progress = run_progress(tmp_path)
    assert progress is not None
    assert (progress.epochs, progress.ended, progress.resumed_from) == (2, "enough", "there")
    assert progress.is_finished(3)
    assert not progress.is_finished(4)  # more epochs: it goes on
    (tmp_path / "checkpoints" / "update-00000020" / MANIFEST).write_text(json.dumps({}))
    assert run_progress(tmp_path) is None


def test_a_file_that_cannot_be_removed_is_a_warning(tmp_path, monkeypatch, caplog):
    store = written(tmp_path, 1, 2)

    real = Path.rename

    def stuck(self: Path, target: Any) -> Path:
        if ".trash" in str(target):
            raise OSError(errno.EACCES, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with caplog.at_level(logging.WARNING):
        store.write(TREE, manifest(3))
        store.wait()
    assert "cannot be removed: Permission denied" in caplog.text
