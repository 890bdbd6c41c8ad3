from __future__ import annotations

import hashlib
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from basetrainer.datasets import digits
from basetrainer.datasets.digits import write_digits
from basetrainer.datasets.image_folder import ImageFolder
from basetrainer.errors import ConfigError, MissingExtraError
from tests.fixtures.programs import TIMEOUT


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_digits(tmp_path_factory.mktemp("data") / "digits")


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.png"))
    }


def test_all_digits_are_there_every_fifth_for_testing(root):
    train, test = ImageFolder(root / "train"), ImageFolder(root / "test")
    assert len(train) == 1442
    assert len(test) == 355
    assert train.class_names == test.class_names == [str(digit) for digit in range(10)]
    whole = np.bincount(load_digits().target)
    assert (train.index.class_counts() + test.index.class_counts()).tolist() == whole.tolist()
    assert test.index.class_counts().tolist() == (whole // 5).tolist()


def test_no_image_is_in_both_and_none_is_lost(root):
    names = [Path(path).stem for path in (*root.glob("train/*/*"), *root.glob("test/*/*"))]
    assert sorted(names) == [f"{number:04d}" for number in range(1797)]


def test_pixels_and_labels_are_scikit_learns(root):
    data = load_digits()
    for path in (root / "train").glob("*/000*.png"):
        number = int(path.stem)
        image = Image.open(path)
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), np.round(data.images[number] * 255 / 16))
        assert path.parent.name == str(data.target[number])


def test_a_second_laying_out_is_the_same_to_the_byte(root, tmp_path):
    assert contents(write_digits(tmp_path / "again")) == contents(root)


def test_a_complete_folder_is_left_alone_and_not_written_again(root, monkeypatch):
    monkeypatch.setattr(digits, "_write", None)
    before = root.stat().st_mtime_ns
    assert write_digits(root) == root
    assert root.stat().st_mtime_ns == before


def test_a_killed_first_use_leaves_nothing_half(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def write_some(folder: Path) -> None:
        (folder / "train" / "0").mkdir(parents=True)
        raise Killed

    monkeypatch.setattr(digits, "_write", write_some)
    with pytest.raises(Killed):
        write_digits(tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_both_get_the_whole(root, tmp_path, monkeypatch):
    meet = threading.Barrier(2)

    def write_together(folder: Path) -> None:
        shutil.copytree(root, folder)
        meet.wait(timeout=TIMEOUT)

    monkeypatch.setattr(digits, "_write", write_together)
    errors: list[BaseException] = []

    def use() -> None:
        try:
            write_digits(tmp_path / "digits")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert contents(tmp_path / "digits") == contents(root)


def test_a_folder_with_something_else_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="holds something else than the complete digits"):
        write_digits(tmp_path)
    with pytest.raises(ConfigError, match="holds something else"):
        write_digits(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_rename_that_fails_for_another_reason_is_told(tmp_path, monkeypatch):
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError("read-only")

    monkeypatch.setattr(digits, "_write", lambda folder: folder.mkdir())
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        write_digits(tmp_path / "digits")


def test_without_scikit_learn_the_extra_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[example\]'"):
        write_digits(tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []
