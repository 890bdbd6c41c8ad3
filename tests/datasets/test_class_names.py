from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.datasets.class_names import ClassList, is_index, natural_key, shown
from basetrainer.errors import ConfigError, DataError


def here() -> str:
    return "list.txt, line 7"


def test_numbers_in_names_are_sorted_as_numbers():
    names = ["class10", "class2", "Class1", "a", "10", "9", "b2c10", "b2c9"]
    expected = ["9", "10", "a", "b2c9", "b2c10", "Class1", "class2", "class10"]
    assert sorted(names, key=natural_key) == expected


@given(st.lists(st.text(), unique=True))
def test_natural_order_is_an_order_of_any_names(names):
    backwards = names[::-1]
    backwards.sort(key=natural_key)
    assert backwards == sorted(names, key=natural_key)


def test_classes_are_read_from_a_list_a_file_and_a_dict(tmp_path):
    (tmp_path / "names.txt").write_bytes("\ufeffcat\r\n\n dog \n".encode())
    assert ClassList.read(["cat", "dog"]).names == ("cat", "dog")
    assert ClassList.read(tmp_path / "names.txt").names == ("cat", "dog")
    assert ClassList.read(str(tmp_path / "names.txt")).ids == {"cat": 0, "dog": 1}
    several = ClassList.read({"dog": 1, "cat": 0, "kitten": 0})
    assert several.names == ("cat", "dog")
    assert several.id_of("kitten", here, is_name=True) == 0
    assert ClassList.read(several) is several


@pytest.mark.parametrize(
    ("given_names", "message"),
    [
        ([], "empty"),
        (["a", "b", "a"], "'a' stands at places 0 and 2"),
        ({"a": 0, "b": 2}, "0 to 1 without a gap"),
        ({"a": "0"}, "must be an integer"),
        ({}, "without a gap"),
        ("nowhere.txt", "no such file"),
    ],
)
def test_class_names_that_make_no_sense_are_refused(given_names, message):
    with pytest.raises(ConfigError, match=message):
        ClassList.read(given_names)


def test_a_faulty_file_of_names_is_named(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ncat\n")
    with pytest.raises(ConfigError, match=r"names\.txt: Class name 'cat' stands at places 0 and 1"):
        ClassList.read(tmp_path / "names.txt")
    (tmp_path / "names.txt").write_bytes(b"cat\nd\xffg\n")
    with pytest.raises(DataError, match=r"names\.txt, line 2: not UTF-8"):
        ClassList.read(tmp_path / "names.txt")


def test_a_name_counts_before_an_index():
    digits = ClassList.of(["7", "3", "x"])
    assert digits.id_of("3", here, is_name=False) == 1
    assert digits.id_of("2", here, is_name=False) == 2


def test_a_label_of_no_class_is_told_where_it_is_and_what_is_near():
    classes = ClassList.of(["tiger", "zebra"])
    with pytest.raises(ConfigError, match=r"line 7: 'tigre' .* Did you mean 'tiger'\?"):
        classes.id_of("tigre", here, is_name=False)
    for label in ("2", "-1"):
        with pytest.raises(ConfigError, match=rf"line 7: label {label} is not among the 2"):
            classes.id_of(label, here, is_name=False)
    with pytest.raises(ConfigError, match="'1' is not among the 2 class names"):
        classes.id_of("1", here, is_name=True)


def test_integers_and_long_lists():
    assert is_index("-12")
    assert not is_index("1.0")
    assert not is_index("9" * 30)
    assert shown(map(str, range(23))).endswith("19, ... (3 more)")
