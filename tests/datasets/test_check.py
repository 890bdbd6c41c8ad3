from __future__ import annotations

from types import SimpleNamespace

import pytest

from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.check import check_config, check_data
from basetrainer.errors import ConfigError
from tests.datasets.images import write_folder


@pytest.fixture
def data(tmp_path):
    write_folder(tmp_path / "train", {"cat": 4, "dog": 2})
    write_folder(tmp_path / "train", {"cat/tall": 1}, size=(5, 9))
    write_folder(tmp_path / "test", {"dog": 2}, size=(6, 6))
    return tmp_path


def test_clean_data_have_no_fault(data):
    report = check_config({"train_data": str(data / "train"), "test_data": str(data / "test")})
    train, test = report.parts
    assert train.class_counts == {"cat": 5, "dog": 2}
    assert test.class_counts == {"cat": 0, "dog": 2}
    assert train.sizes == {(8, 8): 6, (5, 9): 1}
    assert report.duplicates == ()
    assert report.ok


def test_every_planted_fault_is_found(data):
    train, test = data / "train", data / "test"
    (train / "cat" / "0.png").write_bytes(b"junk")
    (train / "dog" / "copy.png").write_bytes((train / "cat" / "1.png").read_bytes())
    (train / "cat" / "copy.png").write_bytes((train / "cat" / "2.png").read_bytes())
    (test / "dog" / "leak.png").write_bytes((train / "dog" / "0.png").read_bytes())
    (data / "more.txt").write_text("train/dog/1.png dog\nnowhere.png dog\n")
    cfg = SimpleNamespace(
        train_data=[str(train), str(data / "more.txt")],
        test_data=str(test),
        class_name=["cat", "dog", "emu"],
    )
    report = check_config(cfg)

    part = report.parts[0]
    assert [bad.path for bad in part.broken] == [str(train / "cat" / "0.png")]
    assert "not an image" in part.broken[0].reason
    assert [bad.where for bad in part.missing] == [f"{data / 'more.txt'}, line 2"]
    groups = [{(copy.part, copy.path, copy.label) for copy in group} for group in report.duplicates]
    assert groups == [
        {
            ("train", str(train / "cat" / "1.png"), "cat"),
            ("train", str(train / "dog" / "copy.png"), "dog"),
        },
        {
            ("train", str(train / "cat" / "2.png"), "cat"),
            ("train", str(train / "cat" / "copy.png"), "cat"),
        },
        {
            ("train", str(train / "dog" / "0.png"), "dog"),
            ("test", str(test / "dog" / "leak.png"), "dog"),
        },
        {("train", str(train / "dog" / "1.png"), "dog")},  # by folder and by list: one file
    ]
    assert report.faults == [
        "train: 1 file missing",
        "train: 1 file broken",
        "train: no image of emu",
        "1 image both in train and test",
        "1 image under different labels",
    ]
    assert not report.ok


def test_progress_is_told_and_threads_change_nothing(data):
    write_folder(data / "big", {"a": 70})
    train, test = open_dataset(data / "big"), open_dataset(data / "test")
    told: list[tuple[int, int]] = []
    one = check_data(train, test, num_threads=1, progress=lambda *state: told.append(state))
    assert told == [(64, 72), (70, 72), (72, 72)]
    assert check_data(train, test, num_threads=3) == one


def test_several_labels_are_counted_and_joined(data):
    (data / "t.csv").write_text("path,label\ntrain/cat/1.png,a|b\ntrain/cat/1.png,\n")
    report = check_config(
        {"train_data": "t.csv", "data_root": str(data)} | {"train_data": str(data / "t.csv")}
    )
    assert report.parts[0].class_counts == {"a": 1, "b": 1}
    assert [copy.label for copy in report.duplicates[0]] == ["a|b", ""]


def test_several_test_sets_are_checked_each_and_copies_among_them_are_no_leak(data):
    test, night = data / "test", data / "night"
    write_folder(night, {"cat": 1}, size=(7, 7))
    (night / "cat" / "copy.png").write_bytes((test / "dog" / "0.png").read_bytes())
    sets = {"day": str(test), "night": [str(night)]}
    report = check_config({"train_data": str(data / "train"), "test_data": sets})
    assert [part.name for part in report.parts] == ["train", "test day", "test night"]
    assert report.faults == ["1 image under different labels"]
    (night / "cat" / "leak.png").write_bytes((data / "train" / "cat" / "1.png").read_bytes())
    report = check_config({"train_data": str(data / "train"), "test_data": sets})
    assert report.faults[0] == "1 image both in train and test"


def test_a_configuration_without_data_is_refused():
    for cfg in ({}, {"train_data": ""}, SimpleNamespace(train_data=None)):
        with pytest.raises(ConfigError, match="train_data is not set"):
            check_config(cfg)
