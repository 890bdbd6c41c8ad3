"""The state tree: what may be in it, copies, soundness."""

from __future__ import annotations

import enum
import io
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from basetrainer.checkpoint.tree import check_loaded, check_tree, is_finite, size_of, snapshot
from basetrainer.errors import CheckpointError, UsageError

Pair = namedtuple("Pair", "a b")


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        (np.zeros(2), "torch.as_tensor(x)"),
        (np.float64(1.0), "float(x)"),
        (np.int64(1), "int(x)"),
        (Path("a"), "str(x)"),
        (b"", "x.hex()"),
        (defaultdict(int), "dict(x)"),
        (Counter("ab"), "dict(x)"),
        (deque([1]), "list(x)"),
        (Pair(1, 2), "state_dict()"),
        (Color.RED, "state_dict()"),
        (torch.Generator(), "x.get_state()"),
        (object(), "state_dict()"),
        (len, "state_dict()"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_loaded_again_is_refused_with_its_place_and_the_mend(value, mend):
    with pytest.raises(UsageError) as caught:
        check_tree({"deep": [1, {"down": value}]}, "Mine.state_dict()")
    assert "Mine.state_dict()['deep'][1]['down'] is a " in str(caught.value)
    assert mend in str(caught.value)


def test_a_key_of_another_type_is_refused():
    with pytest.raises(UsageError, match=r"the key .* of here\['a'\]"):
        check_tree({"a": {Color.RED: 1}}, "here")


LEAVES: Any = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from([torch.arange(3), torch.float16, torch.device("cpu"), torch.Size([2])])
)


@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_whatever_passes_the_check_comes_back_as_it_was(tree):
    check_tree(tree, "tree")
    for one in (tree, snapshot(tree)):
        file = io.BytesIO()
        torch.save(one, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        check_loaded(loaded)
        assert repr(loaded) == repr(tree)


def test_a_state_dict_of_torch_passes():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    check_tree(model.state_dict(), "model")
    check_tree(OrderedDict(a=nn.Parameter(torch.zeros(1))), "parameters")


def test_a_snapshot_shares_nothing_with_the_tree_but_keeps_tied_tensors_tied():
    weight = torch.ones(3)
    tree = {"a": weight, "b": [weight], "c": weight[:2]}
    copy = snapshot(tree)
    weight.zero_()
    assert copy["a"].tolist() == [1, 1, 1]
    assert copy["a"] is copy["b"][0]
    assert copy["c"].tolist() == [1, 1]


def test_a_snapshot_keeps_what_torch_notes_on_a_state_dict():
    state = nn.BatchNorm1d(2).state_dict()
    assert snapshot(state)._metadata == state._metadata  # type: ignore[attr-defined]


def test_a_tensor_larger_than_its_storage_is_refused():
    giant = torch.zeros(1).expand(10**12)
    with pytest.raises(CheckpointError, match=r"\['a'\]\[0\] has the shape \(1000000000000,\)"):
        check_loaded({"a": [giant]})
    with pytest.raises(CheckpointError, match="sparse"):
        check_loaded({"a": torch.eye(2).to_sparse()})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_makes_a_tree_not_finite(bad):
    good = torch.full((3, 3), 3e38)  # whose sum is infinite in float32
    assert is_finite({"a": [good], "b": torch.tensor([1, 2]), "c": "text"})
    worse = good.clone()
    worse[1, 1] = bad
    assert not is_finite({"a": [worse]})


def test_the_size_counts_each_storage_once():
    weight = torch.zeros(100)
    assert size_of({"a": weight, "b": weight[:10], "c": torch.zeros(5)}) == 420
