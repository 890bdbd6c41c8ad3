from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.datasets.class_names import ClassList
from basetrainer.datasets.index import ImageIndex, Listing
from basetrainer.errors import ConfigError

labels = st.lists(st.sampled_from(["ant", "bee", "cow", "7"]), max_size=6)


def listing(source: str, written: list[str], **options) -> Listing:
    rows = ((f"{source}{place}.png", (label,), place + 1) for place, label in enumerate(written))
    return Listing(source, "root", rows, **options)


@given(st.lists(labels, min_size=1, max_size=4).filter(lambda parts: any(parts)))
def test_a_join_holds_every_part_in_order_and_one_index_per_name(parts):
    classes = ClassList.of(["7", "ant", "bee", "cow"])
    index = ImageIndex([listing(f"s{n}_", part) for n, part in enumerate(parts)], classes)

    everything = [
        (f"root/s{n}_{place}.png", label, f"s{n}_, line {place + 1}")
        for n, part in enumerate(parts)
        for place, label in enumerate(part)
    ]
    assert [(s.path, classes.names[int(s.label)], s.where) for s in index] == everything
    assert list(index.paths) == [path for path, _, _ in everything]
    assert index.targets.dtype == np.int64
    assert index.class_counts().sum() == len(everything)
    again = pickle.loads(pickle.dumps(index))
    assert again[:] == index[:]


def test_names_are_taken_in_natural_order_and_integers_as_indices():
    index = ImageIndex([listing("a", ["c10", "c9"]), listing("b", ["0", "c2"])])
    assert index.classes.names == ("c2", "c9", "c10")
    assert index.targets.tolist() == [2, 1, 0, 0]
    assert ImageIndex([listing("a", ["3", "1"])]).classes.names == ("0", "1", "2", "3")


def test_folders_called_by_numbers_are_names():
    index = ImageIndex([listing("a", ["10", "9"], label_names=["9", "10"])])
    assert index.classes.names == ("9", "10")
    assert index.targets.tolist() == [1, 0]


def test_a_label_that_would_make_a_huge_model_is_questioned():
    with pytest.raises(ConfigError, match="a, line 2: label 123456789 would make 123456790 class"):
        ImageIndex([listing("a", ["1", "123456789"])])


def test_negative_labels_and_no_images_are_refused():
    with pytest.raises(ConfigError, match="a, line 1: label -1 is not among"):
        ImageIndex([listing("a", ["-1"])])
    with pytest.raises(ConfigError, match="No image in a, b"):
        ImageIndex([listing("a", []), listing("b", [])])
    with pytest.raises(ConfigError, match="No image in an empty list"):
        ImageIndex([])


def test_several_labels_an_image():
    rows = [("x.png", ("a", "c"), 2), ("y.png", (), 3)]
    index = ImageIndex([Listing("t.csv", "", rows, label_names=["a", "b", "c"], multi_label=True)])
    assert index.targets.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert index.targets.dtype == np.uint8
    assert index.class_counts().tolist() == [1, 0, 1]
    assert np.asarray(index[0].label).tolist() == [1, 0, 1]


def test_single_and_several_labels_do_not_join():
    several = Listing("t.csv", "", [("x.png", ("a",), 2)], multi_label=True)
    with pytest.raises(ConfigError, match=r"t\.csv gives several labels to an image, s one"):
        ImageIndex([listing("s", ["a"]), several])
    with pytest.raises(ConfigError, match=r"No image of t\.csv has a label"):
        ImageIndex([Listing("t.csv", "", [("x.png", (), 2)], multi_label=True)])


def test_a_million_paths_fit_into_a_hundred_bytes_each():
    count = 2000
    index = ImageIndex([listing("folder/of/images/", ["a"] * count)])
    assert len(pickle.dumps(index)) < 100 * count
