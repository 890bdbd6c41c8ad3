from __future__ import annotations

import logging
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.datasets.balance import DataResample
from basetrainer.errors import UnknownNameError

sizes = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1)


def items(sizes: dict[str, int]) -> list[list[str]]:
    return [
        [f"{label}{place}.jpg", label] for label, size in sizes.items() for place in range(size)
    ]


def by_class(item_list: list[list[str]]) -> dict[str, int]:
    return dict(Counter(item[1] for item in item_list))


def old_numbers(sizes: dict[str, int], balance: str) -> dict[str, int]:
    """Items of each class as the old package gave, by its rule."""
    total = sum(sizes.values())
    wanted = {
        "y": {label: float(n) for label, n in sizes.items()},
        "sqrt": {label: math.sqrt(n + 1) for label, n in sizes.items()},
        "log": {label: math.log(n + 1) for label, n in sizes.items()},
        "mean": {label: total / len(sizes) for label in sizes},
    }[balance]
    whole = sum(wanted.values())
    return {label: math.ceil(n / whole * total - 1e-9) for label, n in wanted.items()}


@given(sizes, st.sampled_from(["y", "sqrt", "log", "mean"]), st.booleans())
def test_every_class_has_its_old_number_and_items_are_repeated_evenly(sizes, balance, shuffle):
    given_items = items(sizes)
    before = [list(item) for item in given_items]
    resample = DataResample(given_items, 1, balance, shuffle)
    assert by_class(resample.item_list) == resample.balance_nums == old_numbers(sizes, balance)
    shown = Counter(item[0] for item in resample.item_list)
    for name, label in given_items:
        number, size = resample.balance_nums[label], sizes[label]
        assert number // size <= shown[name] <= math.ceil(number / size)
    assert given_items == before
    assert resample.class_count == sizes
    assert resample.class_weight == {label: len(before) / n for label, n in sizes.items()}


def test_len_and_update_draw_anew_from_the_global_generator():
    resample = DataResample(items({"a": 40, "b": 4}))
    assert resample.balance_nums == {"a": 22, "b": 22}
    first = resample.item_list
    assert len(resample) == 44
    assert resample.item_list != first
    random.seed(3)
    again = resample.update(shuffle=True)
    random.seed(3)
    assert resample.update(shuffle=True) == again
    assert resample.item_list == again


def test_without_shuffle_the_first_items_are_taken_in_order():
    resample = DataResample(items({"a": 3, "b": 1}), shuffle=False)
    assert [item[0] for item in resample.item_list] == ["a0.jpg", "a1.jpg", "b0.jpg", "b0.jpg"]
    assert DataResample().item_list == []


def test_disp_logs_instead_of_printing(caplog, capsys):
    with caplog.at_level(logging.INFO):
        DataResample([["x", 0], ["y", 1], ["z", 1]], disp=True)
    assert "resampled {0: 1, 1: 2} to {0: 2, 1: 2}" in caplog.text
    assert capsys.readouterr().out == ""


def test_an_unknown_strength_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'sqrt'"):
        DataResample([["x", 0]], balance="sqr")
