from __future__ import annotations

import pytest
import torch

from basetrainer.datasets.csv_list import CsvList
from basetrainer.errors import ConfigError, DataError
from tests.datasets.images import write_folder


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path, {"d": 3})


def write(data, text: str):
    (data / "t.csv").write_text(text)
    return data / "t.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_one_label_by_usual_column_names_and_any_delimiter(data, delimiter):
    text = "id,Filename,label\n1,d/0.png,cat\n\n2,d/1.png,dog\n3,d/2.png,cat\n"
    dataset = CsvList(write(data, text.replace(",", delimiter)))
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.targets.tolist() == [0, 1, 0]
    assert dataset.index[1].where.endswith("t.csv, line 4")
    assert dataset[1][1] == 1


def test_several_labels_in_a_cell(data):
    dataset = CsvList(write(data, "path,label\nd/0.png,a|c\nd/1.png,\nd/2.png, b\n"))
    assert dataset.class_names == ["a", "b", "c"]
    assert dataset.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    label = dataset[0][1]
    assert label.dtype == torch.float32
    assert label.tolist() == [1, 0, 1]
    assert repr(dataset).startswith("CsvList(3 images, multi-label, 3 classes")


def test_a_column_of_zeros_and_ones_for_each_class(data):
    text = "path,sun,rain,wind\nd/0.png,1,0,1\nd/1.png,0,1.0,\nd/2.png,0,0,0\n"
    dataset = CsvList(write(data, text))
    assert dataset.class_names == ["rain", "sun", "wind"]
    assert dataset.targets.tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    some = CsvList(write(data, text), class_names=["sun", "rain"], label_column=["rain", "sun"])
    assert some.targets.tolist() == [[1, 0], [0, 1], [0, 0]]


def test_whether_a_cell_holds_several_labels_can_be_said(data):
    single = write(data, "path,label\nd/0.png,a\n")
    assert CsvList(single, multi_label=True).targets.tolist() == [[1]]
    piped = write(data, "path,label\nd/0.png,a|b\n")
    assert CsvList(piped, multi_label=False).class_names == ["a|b"]
    assert CsvList(piped, separator="/").class_names == ["a|b"]


def test_columns_may_be_named(data):
    dataset = CsvList(
        write(data, "where,what\nd/0.png,3\n"), path_column="where", label_column="what"
    )
    assert dataset.targets.tolist() == [3]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,label\nd/0.png,1\n", {}, "called path, image, .* has: a, label. Give path_column="),
        ("path,lable\nd/0.png,1\n", {"label_column": "label"}, "did you mean 'lable'"),
        ("path\nd/0.png\n", {}, "Give label_column="),
        ("", {}, "Its header, line 1, has: nothing"),
        ("path,label\n", {}, "No image in"),
    ],
)
def test_a_header_that_does_not_fit_is_shown(data, text, options, message):
    with pytest.raises(ConfigError, match=message):
        CsvList(write(data, text), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nd/0.png,1,2\n", "line 2: 3 cells, but the header has 2"),
        ("path,label\nd/0.png,1\n,2\n", "line 3: column 'path' is empty"),
        ("path,label\nd/0.png,1\nd/1.png,\n", "line 3: column 'label' is empty"),
        ("path,sun,rain\nd/0.png,1,maybe\n", "line 2: column 'rain' holds 'maybe'"),
        ('path,label\n"d/0.png"x,1\n', "line 2: not a CSV row"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(data, text, message):
    with pytest.raises(DataError, match=r"t\.csv, " + message):
        CsvList(write(data, text))
