"""The dialect of our YAML files: a loader and a dumper that agree on what a number is."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

TAG = "tag:yaml.org,2002:"
"""What the tags of plain values begin with; files write it ``!!``."""

_MAX_DEPTH = 50
_SHORT_LIST = 20  # longer lists are written with one line per item
_RARE_BREAKS = frozenset("\r\x85\u2028\u2029")
_INT = re.compile(r"[-+]?(?:0x[0-9a-fA-F][0-9a-fA-F_]*|0b[01][01_]*|0o[0-7][0-7_]*|[0-9][0-9_]*)$")
_FLOAT = re.compile(  # an int matches too: it is looked for first
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


class PlainLoader(yaml.SafeLoader):
    """YAML's safe loader, with numbers as a person means them.

    ``1e-3`` is a float, ``010`` is ten, ``4:3`` and ``=`` are texts. What looks like a number or a
    date and is none (``3e86410``, ``2026-13-45``) is a text too.
    """

    def flatten_mapping(self, node: MappingNode) -> None:
        """Put what ``<<`` merges before the mapping's own keys, which win over it.

        Of several merged mappings the first one wins, as YAML has it. PyYAML's own method depends
        on its version: 6.0.4 takes the wrong value of a key that was overridden once before.
        """
        merges = [value for key, value in node.value if key.tag == f"{TAG}merge"]
        sources = [one.value if isinstance(one, SequenceNode) else [one] for one in merges]
        merged: dict[Any, tuple[Node, Node]] = {}
        for source in reversed(list(itertools.chain.from_iterable(sources))):
            if not isinstance(source, MappingNode):
                fault = f"expected a mapping to merge, but found a {type(source).__name__}"
                raise ConstructorError(None, None, fault, source.start_mark)
            self.flatten_mapping(source)
            merged.update({key.value: (key, value) for key, value in source.value})
        own = [pair for pair in node.value if pair[0].tag != f"{TAG}merge"]
        node.value = [*merged.values(), *own]


class PlainDumper(yaml.SafeDumper):
    """YAML's safe dumper: short lists on one line, no anchors, ambiguous texts in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True


def _construct_int(loader: PlainLoader, node: ScalarNode) -> int | str:
    digits = str(loader.construct_scalar(node)).replace("_", "")
    try:
        return int(digits, 10 if digits.lstrip("+-").isdecimal() else 0)
    except ValueError:  # more digits than Python reads
        return str(node.value)


def _construct_float(loader: PlainLoader, node: ScalarNode) -> float | str:
    digits = str(loader.construct_scalar(node)).replace("_", "").lower()
    try:
        number = float(digits.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return str(node.value)
    return str(node.value) if math.isinf(number) and ".inf" not in digits else number


def _construct_timestamp(loader: PlainLoader, node: ScalarNode) -> date | str:
    try:
        moment: date = loader.construct_yaml_timestamp(node)
    except ValueError:
        return str(node.value)
    return moment


def _represent_str(dumper: PlainDumper, data: str) -> ScalarNode:
    # PyYAML loses rare line breaks (such as U+0085) unless they are escaped.
    rare = not _RARE_BREAKS.isdisjoint(data)
    return dumper.represent_scalar(f"{TAG}str", data, style='"' if rare else None)


def _represent_list(dumper: PlainDumper, data: list[Any]) -> SequenceNode:
    short = len(data) <= _SHORT_LIST and not any(isinstance(item, (list, dict)) for item in data)
    return dumper.represent_sequence(f"{TAG}seq", data, flow_style=short)


def _represent_dict(dumper: PlainDumper, data: dict[str, Any]) -> MappingNode:
    return dumper.represent_mapping(f"{TAG}map", data, flow_style=False)


# The loader forgets what YAML 1.1 takes for numbers. The dumper does not: other programs read
# our files, so a text that is a number to either stands in quotes.
PlainLoader.yaml_implicit_resolvers = {
    first: [form for form in forms if form[0] not in (f"{TAG}int", f"{TAG}float", f"{TAG}value")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _side in (PlainLoader, PlainDumper):
    _side.add_implicit_resolver(f"{TAG}int", _INT, list("-+0123456789"))
    _side.add_implicit_resolver(f"{TAG}float", _FLOAT, list("-+.0123456789"))
PlainLoader.add_constructor(f"{TAG}int", _construct_int)
PlainLoader.add_constructor(f"{TAG}float", _construct_float)
PlainLoader.add_constructor(f"{TAG}timestamp", _construct_timestamp)
PlainDumper.add_representer(str, _represent_str)
PlainDumper.add_representer(list, _represent_list)
PlainDumper.add_representer(dict, _represent_dict)


def to_plain(value: Any, strange: dict[str, str], key: str = "", depth: int = 0) -> Any:
    """Return ``value`` built of what YAML knows: None, bool, int, float, str, list, dict, ...

    Tuples, sets and arrays become lists, paths texts, NumPy scalars numbers, keys texts.

    Args:
        value: Anything.
        strange: Gets an entry, dotted key to name of the type, for what became its ``str()``.
        key: Dotted key of ``value``.
        depth: How many mappings and lists are around it; beyond 50 a value becomes its text.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, bytes)) or type(value) in (date, datetime):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, str):
        return str.__str__(value)  # not str(): an Enum of texts would give its name
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            plain: dict[str, Any] = {}
            for name in value:  # not items(): a key of that name hides it in an EasyDict
                dotted = f"{key}.{name}" if key else str(name)
                if not isinstance(name, str):
                    strange.setdefault(dotted, f"key of the type {type(name).__name__}")
                plain[str(name)] = to_plain(value[name], strange, dotted, depth + 1)
            return plain
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, (set, frozenset)):
            value = _in_order(value)
        if isinstance(value, (list, tuple)):
            return [to_plain(item, strange, key, depth + 1) for item in value]
    strange.setdefault(key, type(value).__name__)
    return str(value)


def _in_order(values: set[Any] | frozenset[Any]) -> list[Any]:
    """Return a set as a list that does not depend on the hash seed."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)
