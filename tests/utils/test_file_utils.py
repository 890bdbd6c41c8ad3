"""Folders, copies, time stamps, and files that appear whole or not at all."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest

from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import (
    copy_file_to_dir,
    create_dir,
    get_time,
    remove_prefix_files,
    write_atomically,
    write_or_warn,
)


def test_create_dir_makes_parents_and_joins_the_file(tmp_path):
    assert create_dir(tmp_path / "a", "b", "c.txt") == str(tmp_path / "a" / "b" / "c.txt")
    assert (tmp_path / "a" / "b").is_dir()
    assert create_dir(tmp_path / "a") == str(tmp_path / "a")  # again, and without a sub-folder
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_names_path_and_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/sub': Not a directory. Choose another folder"):
        create_dir(tmp_path / "file", "sub")
    with pytest.raises(ConfigError, match=r"file': a file has that name\. Choose another folder"):
        create_dir(tmp_path / "file")


def test_a_folder_that_cannot_be_written_names_path_and_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may all
    with pytest.raises(ConfigError, match=r"permission denied. Choose another folder"):
        create_dir(tmp_path)


def test_copy_makes_the_folder_and_returns_the_copy(tmp_path):
    (tmp_path / "a.yaml").write_text("lr: 1")
    copy = copy_file_to_dir(tmp_path / "a.yaml", tmp_path / "new")
    assert copy == str(tmp_path / "new" / "a.yaml")
    assert (tmp_path / "new" / "a.yaml").read_text() == "lr: 1"


def test_a_file_already_in_the_folder_is_left_alone(tmp_path):
    (tmp_path / "a.yaml").write_text("lr: 1")
    assert copy_file_to_dir(tmp_path / "a.yaml", tmp_path) == str(tmp_path / "a.yaml")
    assert (tmp_path / "a.yaml").read_text() == "lr: 1"


@pytest.mark.parametrize("file", [None, "absent.yaml"])
def test_nothing_to_copy_is_only_a_warning(tmp_path, caplog, file):
    assert copy_file_to_dir(file, tmp_path) == ""
    assert caplog.messages == [
        f"There is no file {file!r} to copy to {str(tmp_path)!r}; going on without it."
    ]


def test_time_stamps_are_those_of_the_start_of_the_job(monkeypatch):
    monkeypatch.setenv("BASETRAINER_START_TIME", "2026-01-02T03:04:05.678912")
    assert get_time() == get_time("p") == "20260102_030405_6789"
    assert get_time("s") == "20260102_030405"


def test_a_start_with_a_zone_is_said_in_local_time(monkeypatch):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    monkeypatch.setenv("BASETRAINER_START_TIME", moment.isoformat())
    assert get_time("s") == moment.astimezone().strftime("%Y%m%d_%H%M%S")


def test_without_a_job_the_stamp_is_now(monkeypatch):
    monkeypatch.delenv("BASETRAINER_START_TIME")
    before = datetime.now()
    stamp = datetime.strptime(get_time() + "00", "%Y%m%d_%H%M%S_%f")
    assert before - timedelta(milliseconds=1) <= stamp <= datetime.now()


def test_a_bad_format_or_start_time_is_named(monkeypatch):
    with pytest.raises(ConfigError, match=r"no format 'x'\. Use 'p'"):
        get_time("x")
    monkeypatch.setenv("BASETRAINER_START_TIME", "noon")
    with pytest.raises(ConfigError, match="BASETRAINER_START_TIME holds 'noon'"):
        get_time()


def test_only_files_that_match_are_removed(tmp_path):
    for name in ("best_1.pth", "best_2.pth", "latest.pth"):
        (tmp_path / name).touch()
    (tmp_path / "best_folder").mkdir()
    remove_prefix_files(tmp_path, "best*")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_folder", "latest.pth"]
    remove_prefix_files(tmp_path / "absent", "best*")


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "ours", lambda file: file.write(b"x"))
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"ne")
        raise error

    with pytest.raises(error):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file(tmp_path):
    def fail(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left.*weights\.pth") as caught:
        write_atomically(tmp_path / "weights.pth", fail)
    assert caught.value.errno == 28
    assert list(tmp_path.iterdir()) == []


def test_an_error_without_a_number_names_the_file_too(tmp_path):
    def fail(file):
        raise OSError("odd")

    with pytest.raises(OSError, match=r"odd.*weights\.pth"):
        write_atomically(tmp_path / "weights.pth", fail)


def test_a_missing_folder_is_told_from_other_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent/weights\.pth"):
        write_atomically(tmp_path / "absent" / "weights.pth", lambda file: file.write(b""))


def test_what_is_told_beside_a_training_is_a_warning_where_it_cannot_be_written(tmp_path, caplog):
    assert write_or_warn(tmp_path / "exit.json", "{}")
    assert not write_or_warn(tmp_path / "absent" / "exit.json", "{}")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(tmp_path / "absent" / "exit.json") in record.getMessage()
