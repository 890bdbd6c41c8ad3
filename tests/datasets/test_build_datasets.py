from __future__ import annotations

from typing import Any

import pytest

from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.errors import ConfigError
from tests.datasets.images import write_folder


@pytest.fixture
def data(tmp_path):
    write_folder(tmp_path / "train", {"cat": 2, "dog": 1})
    write_folder(tmp_path / "test", {"dog": 2})
    (tmp_path / "more.txt").write_text("test/dog/0.png dog\ntest/dog/1.png emu\n")
    (tmp_path / "more.csv").write_text("path,label\ntest/dog/0.png,1\n")
    return tmp_path


def test_folders_and_lists_are_joined_under_one_list_of_classes(data):
    names = ["train", "more.txt", "more.csv"]
    dataset = open_dataset([data / name for name in names])
    assert dataset.class_names == ["cat", "dog", "emu"]
    assert dataset.targets.tolist() == [0, 0, 1, 1, 2, 1]
    assert len(open_dataset(str(data / "train"))) == 3
    assert all(dataset[place][0].shape == (3, 8, 8) for place in range(len(dataset)))


def test_the_test_data_take_the_indices_of_the_training_data(data):
    train = open_dataset(data / "train")
    test = open_dataset(data / "test", like=train)
    assert test.class_names == ["cat", "dog"]
    assert test.targets.tolist() == [1, 1]
    # Without it the only class would have been 0.
    assert open_dataset(data / "test").targets.tolist() == [0, 0]


def test_a_class_that_was_not_trained_is_refused(data):
    train = open_dataset(data / "train")
    with pytest.raises(ConfigError, match=r"line 2: 'emu' .* those of the training set, .*/train"):
        open_dataset(data / "more.txt", like=train)


def test_several_labels_follow_the_training_data(data):
    (data / "train.csv").write_text("path,label\ntest/dog/0.png,a|b\n")
    (data / "test.csv").write_text("path,label\ntest/dog/0.png,b\n")
    train = open_dataset(data / "train.csv")
    assert open_dataset(data / "test.csv", like=train).targets.tolist() == [[0, 1]]
    with pytest.raises(ConfigError, match="has one label an image, the training set"):
        open_dataset(
            data / "more.txt",
            like=open_dataset(data / "train.csv", class_names=["dog", "emu", "a", "b"]),
        )


def test_what_cannot_be_opened_is_named(data):
    with pytest.raises(ConfigError, match=r"trane: does not exist\. Did you mean .*train'"):
        open_dataset(data / "trane")
    (data / "x.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"x\.json: of no known kind\. Data is a folder"):
        open_dataset(data / "x.json")
    nothings: list[Any] = [[], "", None, {"night": "train"}]
    for nothing in nothings:
        with pytest.raises(ConfigError, match="names no data: give a folder of class folders"):
            open_dataset(nothing)
    with pytest.raises(ConfigError, match="Both class_names and like"):
        open_dataset(data / "test", like=open_dataset(data / "train"), class_names=["a"])
