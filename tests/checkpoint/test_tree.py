"""The state tree: what may be in it, copies, soundness."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import io
import random
import warnings
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from basetrainer._plain_values import MARK, decode
from basetrainer.checkpoint.tree import (
    check_loaded,
    check_tree,
    is_finite,
    size_of,
    snapshot,
    writable,
)
from basetrainer.errors import CheckpointError, UsageError
from tests.trees import assert_same

Pair = namedtuple("Pair", "a b")


class Color(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Record:
    number: int = 1


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (np.array([object()]), "a list of its values"),
        (Pair(1, 2), "tuple(x)"),
        (Color.RED, "x.name"),
        (Record(), "dataclasses.asdict(x)"),
        (nn.Linear(1, 1), "x.state_dict()"),
        (defaultdict(lambda: 3), "state_dict()"),
        (object(), "state_dict()"),
        (len, "its name"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_loaded_again_is_refused_with_its_place_and_what_to_write(value, instead):
    with pytest.raises(UsageError) as caught:
        check_tree({"deep": [1, {"down": value}]}, "Mine.state_dict()")
    assert "Mine.state_dict()['deep'][1]['down'] is a " in str(caught.value)
    assert instead in str(caught.value)


def test_a_key_of_another_type_is_refused():
    with pytest.raises(UsageError, match=r"here\['a'\], key .* is a .*Color"):
        check_tree({"a": {Color.RED: 1}}, "here")


def test_a_tensor_without_numbers_and_a_tree_in_itself_are_refused():
    with pytest.raises(UsageError, match=r"here\['a'\] has no numbers"):
        check_tree({"a": torch.ones(2, device="meta")}, "here")
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(UsageError, match="here holds itself"):
        check_tree(ring, "here")


def _tensor(kind: torch.dtype) -> torch.Tensor:
    return torch.arange(6).view(2, 3).t().to(kind)


TENSORS: list[Any] = [
    *map(_tensor, (torch.uint8, torch.int16, torch.int64, torch.bool, torch.uint16, torch.uint32)),
    *map(_tensor, (torch.float16, torch.bfloat16, torch.float64, torch.complex64)),
    _tensor(torch.float32).to(torch.float8_e4m3fn),
    torch.tensor([float("inf"), float("nan"), -0.0]),
    torch.tensor([1 + 2j]).conj(),
    torch.tensor(3.0),
    torch.zeros(0, 2),
    torch.ones(1).expand(3, 4),
    torch.arange(9.0)[2:5],
    torch.eye(3).to_sparse(),
    nn.Parameter(torch.ones(2), requires_grad=False),
]
PLAIN = [one for one in TENSORS if not isinstance(one, nn.Parameter)]
"""A snapshot makes plain tensors of parameters."""

ODD: list[Any] = [
    *(np.zeros((2, 0)), np.arange(6).reshape(2, 3).T, np.array(["a", "bc"]), np.array([b"x"])),
    *(np.array([1], dtype=">i4"), np.float16(0.5), np.int8(-1), np.bool_(True)),
    *(np.datetime64("2020-01-02"), np.complex64(1j), np.dtype("f4"), np.str_("x")),
    *(
        Path("a/b"),
        PurePosixPath("c"),
        b"",
        b"\0x",
        bytearray(b"y"),
        range(1, 9, 2),
        slice(1, None),
    ),
    *(deque([1], 4), deque(), Counter("aab"), defaultdict(list, {"a": [1]}), defaultdict(None)),
    *(frozenset({1, (2, "x")}), {1, "a"}, {frozenset({1})}, OrderedDict(b=1, a=2)),
    *(datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.date(2020, 1, 2), datetime.time(1, 2)),
    *(datetime.timedelta(1, 2, 3), Decimal("1.10"), Fraction(1, 3), UUID(int=5)),
    *({Path("k"): 1}, {MARK: 1}, {np.int64(1): {(1, np.int8(2)): None}}, SimpleNamespace(a=1)),
]
LEAVES: Any = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.complex_numbers()
    | st.sampled_from([torch.float16, torch.device("cpu"), torch.Size([2]), *PLAIN, *ODD])
)


def read_back(tree: Any) -> Any:
    """Write and read a tree as a checkpoint does."""
    file = io.BytesIO()
    torch.save(tree, file)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on sparse tensors
        loaded = torch.load(file, weights_only=True)
    check_loaded(loaded)
    return decode(loaded)


@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(
                st.text(max_size=3) | st.integers() | st.sampled_from([MARK, Path("a"), 1.5, None]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_whatever_passes_the_check_comes_back_as_it_was(tree):
    written = writable(tree, "tree")
    check_tree(tree, "tree")
    for one in (written, snapshot(written)):
        assert_same(read_back(one), tree)


@pytest.mark.parametrize("value", [*TENSORS, *ODD], ids=lambda value: type(value).__name__)
def test_each_kind_of_value_comes_back_as_it_was(value):
    assert_same(read_back(writable({"a": [value]}, "tree")), {"a": [value]})


@pytest.mark.parametrize(
    "draws",
    [
        np.random.default_rng(1),
        np.random.Generator(np.random.MT19937(2)),
        np.random.RandomState(3),
        random.Random(4),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_generator_of_random_numbers_goes_on_where_it_was(draws):
    draws.random()
    found = read_back(writable([draws], "tree"))[0]
    assert type(found) is type(draws)
    assert found.random() == draws.random()


def test_a_generator_of_torch_goes_on_where_it_was():
    draws = torch.Generator().manual_seed(5)
    found = read_back(writable([draws], "tree"))[0]
    assert torch.equal(torch.rand(3, generator=found), torch.rand(3, generator=draws))


def test_nested_tensors_come_back():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    (found,) = read_back(writable([nested], "tree"))
    assert [one.tolist() for one in found.unbind()] == [[1, 1], [1, 1, 1]]
    assert size_of(nested) > 0
    assert is_finite([nested])


def test_views_of_one_tensor_stay_views():
    both = torch.arange(4.0)
    first, again = read_back(writable([both[:2], both], "tree"))
    again.zero_()
    assert first.tolist() == [0, 0]


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
    wide = torch.sparse_coo_tensor(
        torch.zeros(1, 1).long(), giant[:1], (10**12,), check_invariants=True
    )
    check_loaded({"a": wide})


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
