from __future__ import annotations

import pytest

from basetrainer.datasets.generated import write_image_folder
from basetrainer.datasets.image_folder import ImageFolder, list_folder
from basetrainer.errors import ConfigError
from tests.datasets.images import write_folder


def test_folders_are_classes_in_natural_order_with_images_at_any_depth(tmp_path):
    write_folder(tmp_path, {"c10": 1, "c9": 2})
    write_folder(tmp_path / "c9", {"deep/deeper": 1})
    (tmp_path / "c9" / "notes.txt").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "c9" / ".hidden.png").write_text("x")

    dataset = ImageFolder(tmp_path)

    assert dataset.class_names == ["c9", "c10"]
    assert dataset.num_classes == 2
    assert dataset.targets.tolist() == [0, 0, 0, 1]
    assert [path.removeprefix(f"{tmp_path}/") for path in dataset.paths] == [
        *("c9/0.png", "c9/1.png", "c9/deep/deeper/0.png", "c10/0.png")
    ]
    image, label = dataset[-1]
    assert image.shape == (3, 8, 8)
    assert label == 1
    assert repr(dataset) == f"ImageFolder(4 images, 2 classes, from {tmp_path})"


def test_several_roots_share_one_list_of_classes(tmp_path):
    write_folder(tmp_path / "a", {"cat": 2, "dog": 1})
    write_folder(tmp_path / "b", {"ant": 1, "dog": 2})
    dataset = ImageFolder([tmp_path / "a", tmp_path / "b"])
    assert dataset.class_names == ["ant", "cat", "dog"]
    assert dataset.targets.tolist() == [1, 1, 2, 0, 2, 2]


def test_class_names_decide_the_indices(tmp_path):
    write_folder(tmp_path / "data", {"cat": 1, "dog": 1})
    (tmp_path / "names.txt").write_text("dog\ncat\nemu\n")
    for names in (["dog", "cat", "emu"], tmp_path / "names.txt", {"dog": 0, "cat": 1, "emu": 2}):
        dataset = ImageFolder(tmp_path / "data", class_names=names)
        assert dataset.targets.tolist() == [1, 0]
        assert dataset.class_names == ["dog", "cat", "emu"]


def test_links_to_folders_are_followed_once(tmp_path):
    write_folder(tmp_path / "real", {"x": 1})
    write_folder(tmp_path / "data", {"cat": 1})
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "x" / "loop").symlink_to(tmp_path / "real")
    assert ImageFolder(tmp_path / "data").targets.tolist() == [0, 1]


def test_a_misspelt_folder_is_named_with_the_near_one(tmp_path, monkeypatch):
    write_folder(tmp_path / "train", {"cat": 1})
    with pytest.raises(ConfigError, match=r"trian: does not exist\. Did you mean '.*/train'\?"):
        ImageFolder(tmp_path / "trian")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"'\.' holds: train\. Give a folder"):
        ImageFolder("elsewhere")
    with pytest.raises(ConfigError, match=r"0\.png: this is not a folder"):
        ImageFolder("train/cat/0.png")


def test_a_folder_without_class_folders_says_what_it_holds(tmp_path):
    write_folder(tmp_path, {"flat": 2})
    with pytest.raises(ConfigError, match=r"no class folder in it, it holds 2 images and 0 other"):
        ImageFolder(tmp_path / "flat")
    (tmp_path / "void").mkdir()
    with pytest.raises(ConfigError, match="no class folder in it, it is empty"):
        ImageFolder(tmp_path / "void")


def test_a_class_folder_without_images_says_what_it_holds(tmp_path):
    write_folder(tmp_path, {"cat": 1, "dog": 0})
    for place in range(6):
        (tmp_path / "dog" / f"{place}.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"dog: no image .* holds no image: 0\.txt, .*, \.\.\.\."):
        ImageFolder(tmp_path)


def test_a_class_that_is_not_among_the_names_is_named_with_the_near_one(tmp_path):
    write_folder(tmp_path, {"tigre": 1, "zebra": 1})
    with pytest.raises(ConfigError, match=r"/tigre: 'tigre' is not among .* Did you mean 'tiger'"):
        ImageFolder(tmp_path, class_names=["tiger", "zebra"])


def test_a_folder_of_splits_is_told(tmp_path, caplog):
    for split in ("train", "val"):
        write_image_folder(tmp_path / "data" / split, num_images=4, num_classes=2)
    list_folder(tmp_path / "data" / "train")
    assert caplog.text == ""
    list_folder(tmp_path / "data")
    train = tmp_path / "data" / "train"
    assert f"its class folders are called train, val. Was {train} meant?" in caplog.text


def test_images_in_formats_that_are_not_read_are_counted_in_one_warning(tmp_path, caplog):
    write_image_folder(tmp_path, num_images=4, num_classes=2)
    first, second = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    for name in ("1.HEIC", "2.heic", "3.jp2", "notes.txt", "boxes.json"):
        (first / name).write_bytes(b"x")
    (second / "deep").mkdir()
    (second / "deep" / "4.heic").write_bytes(b"x")
    assert len(ImageFolder(tmp_path)) == 4
    (line,) = [one for one in caplog.messages if "left out" in one]
    assert "4 images are left out" in line
    assert "3 .heic, 1 .jp2" in line
