from __future__ import annotations

import pytest

from basetrainer.datasets.text_list import TextList
from basetrainer.errors import ConfigError, DataError
from tests.datasets.images import write_folder


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data", {"cat": 2, "big dog": 2})


def test_paths_and_names_may_hold_spaces_and_indices_work_too(data):
    (data / "list.txt").write_text(
        "cat/0.png cat\n\nbig dog/0.png big dog\nbig dog/1.png\tbig dog\r\ncat/1.png, 1\n"
    )
    dataset = TextList(data / "list.txt")
    assert dataset.class_names == ["big dog", "cat"]
    assert dataset.targets.tolist() == [1, 0, 0, 1]
    assert dataset.index[2].where == f"{data / 'list.txt'}, line 4"
    assert [dataset[place][1] for place in range(4)] == [1, 0, 0, 1]


def test_paths_start_from_the_lists_folder_from_root_or_are_absolute(data, tmp_path):
    (tmp_path / "list.txt").write_text(f"cat/0.png 0\n{data}/cat/1.png 1\n")
    dataset = TextList(tmp_path / "list.txt", root=data)
    assert list(dataset.paths) == [f"{data}/cat/0.png", f"{data}/cat/1.png"]
    with pytest.raises(ConfigError, match=r"list\.txt: .*dta: does not exist\. Did you mean"):
        TextList(tmp_path / "list.txt", root=tmp_path / "dta")


def test_a_wrong_root_is_found_at_once(data, tmp_path):
    (tmp_path / "list.txt").write_text("cat/0.png 0\ncat/1.png 0\n")
    with pytest.raises(
        ConfigError, match=r"line 1: .*0\.png: does not exist.*Nor do other .* is root=\.\.\. right"
    ):
        TextList(tmp_path / "list.txt")


def test_integers_alone_are_indices_and_names_come_from_a_file(data):
    (data / "list.txt").write_text("cat/0.png 2\ncat/1.png 0\n")
    assert TextList(data / "list.txt").class_names == ["0", "1", "2"]
    (data / "names.txt").write_text("x\ny\nz\n")
    assert TextList(data / "list.txt", class_names=data / "names.txt").class_names == [*"xyz"]
    with pytest.raises(ConfigError, match=r"list\.txt, line 1: label 2 is not among the 2 classes"):
        TextList(data / "list.txt", class_names=["x", "y"])


def test_other_endings_end_at_the_last_space(data):
    (data / "cat" / "raw file").write_bytes((data / "cat" / "0.png").read_bytes())
    (data / "list.txt").write_text("cat/raw file 0\n")
    image, _ = TextList(data / "list.txt")[0]
    assert image.shape == (3, 8, 8)


def test_a_line_without_label_is_named(data):
    (data / "list.txt").write_text("cat/0.png 0\ncat/1.png\n")
    with pytest.raises(DataError, match=r"list\.txt, line 2: 'cat/1\.png' has no label"):
        TextList(data / "list.txt")


def test_a_list_that_is_missing_or_empty_is_named(data):
    (data / "list.txt").write_text("\n")
    with pytest.raises(ConfigError, match=r"No image in .*list\.txt"):
        TextList(data / "list.txt")
    with pytest.raises(ConfigError, match=r"lst\.txt: does not exist\. Did you mean '.*list\.txt'"):
        TextList(data / "lst.txt")
    with pytest.raises(ConfigError, match="cat: this is not a file"):
        TextList(data / "cat")
