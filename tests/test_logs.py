"""PhaseLogs: up to date however it is read; find_metric: 0.0 is a value."""

from __future__ import annotations

import copy
import io
import json
import operator
import pickle
import pprint
from collections import ChainMap, OrderedDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
import torch

from basetrainer._logs import PhaseLogs, SetLogs, find_metric, metrics_by_set, phase_metrics


class PureJson(json.JSONEncoder):
    """The encoder without its part in C, as other interpreters have it."""

    def iterencode(self, o: Any, _one_shot: bool = False) -> Any:
        return super().iterencode(o, _one_shot=False)


PURE_JSON = PureJson()


READERS: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda d: d["x"] == 2,
    "get": lambda d: d.get("x") == 2,
    "keys": lambda d: "y" in list(d.keys()),
    "values": lambda d: list(d.values()) == [2, 3],
    "items": lambda d: list(d.items()) == [("x", 2), ("y", 3)],
    "iteration": lambda d: list(d) == ["x", "y"],
    "reversed": lambda d: list(reversed(d)) == ["y", "x"],
    "in": lambda d: "y" in d,
    "len": lambda d: len(d) == 2,
    "bool": bool,
    "eq": lambda d: d == {"x": 2, "y": 3},
    "eq_reversed": lambda d: operator.eq({"x": 2, "y": 3}, d),
    "ne": lambda d: operator.ne(d, {"x": 2, "y": 3}) is False,
    "repr": lambda d: repr(d) == "{'x': 2, 'y': 3}",
    "f-string": lambda d: f"{d}" == "{'x': 2, 'y': 3}",
    "copy": lambda d: d.copy() == {"x": 2, "y": 3},
    "copy.copy": lambda d: copy.copy(d) == {"x": 2, "y": 3},
    "deepcopy": lambda d: copy.deepcopy(d) == {"x": 2, "y": 3},
    "or": lambda d: (d | {"z": 4}) == {"x": 2, "y": 3, "z": 4},
    "or_reversed": lambda d: ({"z": 4} | d) == {"x": 2, "y": 3, "z": 4},
    "dict": lambda d: dict(d) == {"x": 2, "y": 3},
    "unpacking": lambda d: {**d} == {"x": 2, "y": 3},
    "json": lambda d: json.loads(json.dumps(d)) == {"x": 2, "y": 3},
    "format_map": lambda d: "{x} {y}".format_map(d) == "2 3",
    "percent": lambda d: operator.mod("%(x)d %(y)d", d) == "2 3",
    "update": lambda d: dict({}, **d) == {"x": 2, "y": 3},
    "sorted": lambda d: sorted(d) == ["x", "y"],
    "itemgetter": lambda d: operator.itemgetter("y")(d) == 3,
    "pprint": lambda d: pprint.pformat(d) == "{'x': 2, 'y': 3}",
    "chain_map": lambda d: dict(ChainMap(d)) == {"x": 2, "y": 3},
    "pickle": lambda d: pickle.loads(pickle.dumps(d)) == {"x": 2, "y": 3},
    "pickle_of_outer": lambda d: pickle.loads(pickle.dumps({"t": d})) == {"t": {"x": 2, "y": 3}},
    "deepcopy_of_outer": lambda d: copy.deepcopy({"t": d}) == {"t": {"x": 2, "y": 3}},
    "repr_of_outer": lambda d: repr({"t": d}) == "{'t': {'x': 2, 'y': 3}}",
    "eq_of_outer": lambda d: operator.eq({"t": d}, {"t": {"x": 2, "y": 3}}),
    "json_of_outer": lambda d: json.loads(json.dumps({"t": d})) == {"t": {"x": 2, "y": 3}},
    "json_sorted": lambda d: json.dumps(d, sort_keys=True) == '{"x": 2, "y": 3}',
    "json_indented": lambda d: json.loads(json.dumps([d], indent=2)) == [{"x": 2, "y": 3}],
    "json_in_python": lambda d: "".join(PURE_JSON.iterencode(d)) == '{"x": 2, "y": 3}',
    "del": lambda d: operator.delitem(d, "y") is None,
    "ordered": lambda d: OrderedDict(d) == {"x": 2, "y": 3},
    "proxy": lambda d: dict(MappingProxyType(d)) == {"x": 2, "y": 3},
    "keywords": lambda d: (lambda **given: given)(**d) == {"x": 2, "y": 3},
    "pop": lambda d: d.pop("y") == 3,
    "popitem": lambda d: d.popitem() == ("y", 3),
    "setdefault": lambda d: d.setdefault("y", 9) == 3,
}


@pytest.mark.parametrize("before", [{}, {"x": 1}], ids=["empty", "filled"])
@pytest.mark.parametrize("way", READERS)
def test_every_way_of_reading_is_up_to_date(way, before):
    logs = PhaseLogs(before)
    logs.add_source(lambda metrics: metrics.update({"x": 2, "y": 3}))
    assert READERS[way](logs)


def test_a_dict_that_nothing_was_written_into_is_empty_again():
    logs = PhaseLogs()
    logs.add_source(lambda metrics: None)
    assert json.loads(json.dumps({"train": logs})) == {"train": {}}
    assert not logs
    assert dict.__len__(logs) == 0


def test_match_reads_it_too():
    logs: dict[str, Any] = PhaseLogs()
    logs.add_source(lambda metrics: metrics.update({"y": 3}))  # type: ignore[attr-defined]
    match logs:
        case {"y": value}:
            assert value == 3
        case _:
            pytest.fail("stale")


def test_logs_in_a_checkpoint_load_with_weights_only():
    figures = PhaseLogs({"loss": {"a": 0.5}})
    figures.add_source(lambda metrics: metrics.update({"acc": 2.0}))
    logs = {"lr": 0.1, "train": figures, "test": SetLogs(clean=figures)}
    file = io.BytesIO()
    torch.save({"logs": logs}, file)
    file.seek(0)
    expected = {"loss": {"a": 0.5}, "acc": 2.0}
    assert torch.load(file, weights_only=True) == {
        "logs": {"lr": 0.1, "train": expected, "test": {"clean": expected}}
    }


def test_copies_stay_what_they_are_and_share_nothing():
    inner = {"a": 0.5}
    logs = {"train": PhaseLogs(loss=inner), "test": SetLogs(clean=PhaseLogs(loss=inner))}
    copied = copy.deepcopy(logs)
    inner["a"] = 0.0
    assert type(copied["train"]) is dict
    assert type(copy.copy(logs["train"])) is dict
    assert copied["train"]["loss"]["a"] == 0.5
    assert metrics_by_set(copied["test"]) == {"clean": {"loss": {"a": 0.5}}}
    assert metrics_by_set(copy.copy(logs["test"])) == {"clean": {"loss": {"a": 0.0}}}


def test_nothing_is_computed_while_nobody_looks():
    calls = []
    logs = phase_metrics({}, "train")
    logs.add_source(lambda metrics: calls.append(1))
    logs["x"] = 1
    assert not calls


def test_a_source_may_read_what_it_writes_into():
    logs = PhaseLogs()
    logs.add_source(lambda metrics: metrics.update({"a": 1}))
    logs.add_source(lambda metrics: metrics.update({"b": metrics["a"] + 1}))
    assert logs["b"] == 2
    assert logs == {"a": 1, "b": 2}


def test_a_plain_dict_of_the_users_is_taken_over():
    logs: dict[str, Any] = {"train": {"mine": 1}}
    phase_metrics(logs, "train").add_source(lambda metrics: metrics.update({"loss": 2}))
    assert logs["train"] == {"mine": 1, "loss": 2}


def test_test_figures_come_before_train_ones_and_zero_is_a_value():
    logs = {"train": {"acc": 1.0}, "test": {"acc": 0.0}}
    assert find_metric(logs, "acc") == 0.0
    assert find_metric(logs, "absent") is None


def test_a_dict_counts_as_the_sum_of_its_entries_without_totals():
    logs = {"test": {"loss": {"a": 1.0, "b": 2.0, "total_loss": 3.0}, "more": {"c": 5.0}}}
    assert find_metric(logs, "loss") == 3.0
    assert find_metric(logs, "c") == 5.0
    assert find_metric(logs, "total_loss") == 3.0
