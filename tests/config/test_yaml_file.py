"""YAML as a person means it: numbers, messages with file and line, round trips."""

from __future__ import annotations

import argparse
import datetime
import enum
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from easydict import EasyDict
from hypothesis import given, settings
from hypothesis import strategies as st

from basetrainer.config.yaml_file import MAX_BYTES, YamlFile, read_yaml, write_yaml
from basetrainer.errors import ConfigError


def read(tmp_path: Path, text: str | bytes) -> YamlFile:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("1e+3", 1e3),
        ("-2.5e-4", -2.5e-4),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000", 1000),
        ("010", 10),
        ("-08", -8),
        ("0x1F", 31),
        ("0b11", 3),
        (".inf", math.inf),
        ("4:3", "4:3"),
        ("12:30:45", "12:30:45"),
        ("=", "="),
        ("!!float quick", "quick"),
        ("3e86410", "3e86410"),  # a commit, not infinity
        ("2026-13-45", "2026-13-45"),
        ("2026-01-02", datetime.date(2026, 1, 2)),
        ("yes", True),
        ("~", None),
        ('"1e-3"', "1e-3"),
        ("[ 20,35 ]", [20, 35]),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_values_are_what_a_person_takes_them_for(tmp_path, text, value):
    found = read(tmp_path, f"key: {text}").values["key"]
    assert found == value
    assert type(found) is type(value)


def test_lines_and_origins_of_keys_are_known(tmp_path):
    file = read(tmp_path, "# settings\nlr: 0.1\n\nnet:\n  depth: 3\nlast: 1\n")
    assert file.lines == {"lr": 2, "net": 4, "last": 6}
    assert file.values == {"lr": 0.1, "net": {"depth": 3}, "last": 1}
    assert file.origin("net") == f"{tmp_path / 'config.yaml'}, line 4"
    assert file.origin("absent") == str(tmp_path / "config.yaml")


def test_merged_mappings_are_read_without_a_warning(tmp_path, caplog):
    text = "base: &base {x: 1, y: 1}\nouter:\n  mine: &mine\n    <<: *base\n    x: 2\n"
    values = read(tmp_path, text + "also:\n  <<: *mine\n").values
    assert values["outer"]["mine"] == values["also"] == {"x": 2, "y": 1}
    assert caplog.messages == []


def test_of_several_merged_mappings_the_first_wins_and_ones_own_keys_before_it(tmp_path):
    text = "a: &a {one: 1, two: 1}\nb: &b {one: 2, three: 2}\nc:\n  three: 3\n  <<: [*a, *b]\n"
    assert read(tmp_path, text).values["c"] == {"one": 1, "two": 1, "three": 3}


def test_a_key_that_stands_twice_is_warned_of_and_the_last_holds(tmp_path, caplog):
    file = read(tmp_path, "lr: 1\nmomentum: 0.9\nlr: 2\n")
    assert file.values == {"lr": 2, "momentum": 0.9}
    assert file.lines["lr"] == 3
    (message,) = caplog.messages
    assert "lr stands on line 1 and again on line 3; the last one holds" in message
    assert "config.yaml" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"config\.yaml is empty. Write a setting in it, e.g. num_epochs: 30"),
        ("# only a comment\n", "is empty"),
        ("null", r"line 1, column 1: the file holds no settings. Write key: value"),
        ("lr:0.1", r"no settings. Write key: value, with a space.*Found: lr:0.1"),
        ("- lr\n", "no settings"),
        ("a: 1\n1: 2\n", r"line 2, column 1: the key '1' is not a text. Put it in quotes: '1'"),
        ("a:\n  no: 2\n", r"line 2, column 3: the key 'no' is not a text"),
        ("? [a, b]\n: 1\n", "is not a text"),
        ("lr: 0.1: 2\n", r"line 1, column 8: mapping values are not allowed here. Put a text"),
        ("a:\n\tb: 1\n", r"line 2, column 1: .*'\\t'.*Indent with spaces.*Found: b: 1"),
        ("a: [1, 2\nb: 3\n", r"line 2.*Close the bracket"),
        ("a: 'text\n", r"found unexpected end of stream. Close the quotes"),
        ("a: 1\nb\nc: 2\n", r"could not find expected ':'. Write key: value"),
        ("a: 1\n b: 2\n", r"line 2"),
        ("a: *b\n", r"undefined alias.*Define it with &name"),
        ("a: 1\n---\nb: 2\n", r"Keep one document per file"),
        ("a: @b\n", r"Check the indentation, quotes and brackets there"),
        ("a: &a [*a]\n", r"line 1.*makes a value contain itself"),
        ("a: 1\nb: \x07\n", r"line 2: found the character '\\x07'. Remove it"),
        (b"a: 1\nb: \xff\n", r"line 2: found the byte 0xff, which is not UTF-8"),
        ("a: !!bool maybe\n", r"a value does not fit its tag"),
        ("a: " + "[" * 1000, r"nested too deep"),
        ("a: 1\n" + "#" * MAX_BYTES, r"larger than 1 MiB"),
    ],
)
def test_a_broken_file_names_the_place_and_the_mend(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("!!python/object/apply:os.system ['true']", "!!python/object/apply:os.system"),
        ("!!python/tuple [1, 2]", "!!python/tuple"),
        ("!mine x", "!mine"),
    ],
)
def test_a_tag_of_python_is_refused_with_its_line(tmp_path, tag, shown):
    with pytest.raises(ConfigError, match=rf"line 2, column 4: the tag {shown} .*Remove the tag"):
        read(tmp_path, f"a: 1\nb: {tag}\n")


@pytest.mark.parametrize("step", ["[{}]", "{{<<: [{}]}}"])
def test_an_alias_bomb_is_refused_at_once(tmp_path, step):
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 12):
        names = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {step.format(names)}")
    with pytest.raises(ConfigError, match=r"aliases .* stand for more than 100000 values"):
        read(tmp_path, "\n".join(lines))


def test_a_missing_file_suggests_a_near_one(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: 1")
    with pytest.raises(ConfigError, match=r"no file .*confg.yaml. Did you mean .*/config.yaml\?"):
        read_yaml(tmp_path / "confg.yaml")
    with pytest.raises(ConfigError, match=r"no file .*zzz. Check the path"):
        read_yaml(tmp_path / "zzz")
    with pytest.raises(ConfigError, match=r"the folder .*absent is missing"):
        read_yaml(tmp_path / "absent" / "config.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        read_yaml(tmp_path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbflr: 1\r\nname: \xe4\xb8\xad\r\n").values == {
        "lr": 1,
        "name": "\u4e2d",
    }


class Colour(enum.Enum):
    RED = 1


class Kind(str, enum.Enum):
    SGD = "sgd"


def test_what_python_has_becomes_plain(tmp_path, caplog):
    path = tmp_path / "out.yaml"
    write_yaml(
        EasyDict(
            lr=np.float64(0.1),
            count=np.int32(3),
            on=np.bool_(True),
            size=(2, (3, 4)),
            where=Path("a/b"),
            names={"b", "a"},
            mixed={1, "a"},
            means=np.array([0.5, 0.25]),
            kind=Kind.SGD,
            nested={"deep": {"er": (1,)}},
            items=1,
        ),
        path,
    )
    assert read_yaml(path).values == {
        "lr": 0.1,
        "count": 3,
        "on": True,
        "size": [2, [3, 4]],
        "where": "a/b",
        "names": ["a", "b"],
        "mixed": ["a", 1],
        "means": [0.5, 0.25],
        "kind": "sgd",
        "nested": {"deep": {"er": [1]}},
        "items": 1,
    }
    assert caplog.messages == []


def test_what_yaml_cannot_say_becomes_a_text_with_one_warning_per_key(tmp_path, caplog):
    path = tmp_path / "out.yaml"
    write_yaml({"a": {"b": [Colour.RED, Colour.RED]}, "c": {1: 2}, "d": 1j}, path)
    assert read_yaml(path).values == {
        "a": {"b": ["Colour.RED", "Colour.RED"]},
        "c": {"1": 2},
        "d": "1j",
    }
    assert [message.split(":")[0] for message in caplog.messages] == ["a.b", "c.1", "d"]
    assert "a Colour is not plain YAML" in caplog.messages[0]


def test_a_value_that_contains_itself_is_written_as_text(tmp_path, caplog):
    items: list[object] = [1]
    items.append(items)
    write_yaml({"a": items}, tmp_path / "out.yaml")
    assert len(caplog.messages) == 1
    assert read_yaml(tmp_path / "out.yaml").values["a"][0] == 1


def test_the_file_reads_as_a_person_would_write_it(tmp_path):
    path = tmp_path / "out.yaml"
    size = [128, 128]
    write_yaml({"z": size, "a": size, "name": "\u4e2d", "ratio": "4:3", "lr": "1e-3"}, path)
    lines = ["z: [128, 128]", "a: [128, 128]", "name: \u4e2d", "ratio: '4:3'", "lr: '1e-3'"]
    assert path.read_text(encoding="utf-8").splitlines() == lines
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["ratio"] == "4:3"  # others read it too


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(OSError, match=r"out\.yaml"):
        write_yaml({"a": 1}, tmp_path / "absent" / "out.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_namespace_is_said_to_be_no_plain_value(tmp_path, caplog):
    write_yaml({"a": argparse.Namespace(b=1)}, tmp_path / "out.yaml")
    assert read_yaml(tmp_path / "out.yaml").values == {"a": "Namespace(b=1)"}
    assert len(caplog.messages) == 1


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.text(alphabet="0123456789+-_.eExob:nainfINF=~<", max_size=8)
    | st.dates()
    | st.binary(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=25) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(data=st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_what_is_written_is_read_back_equal(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    write_yaml(data, path)
    assert read_yaml(path).values == data
    assert list(read_yaml(path).values) == list(data)
