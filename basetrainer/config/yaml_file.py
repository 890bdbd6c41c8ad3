"""Read and write YAML files as a person means them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from basetrainer._names import nearest
from basetrainer.config.yaml_dialect import TAG, PlainDumper, PlainLoader, to_plain
from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import write_atomically

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 20
"""Largest file that is read."""

MAX_ALIASED = 100_000
"""How many values may come from ``*aliases``: a short file can name billions of them."""

_MENDS = {
    r"'\t'": "Indent with spaces, not with tabs.",
    "mapping values are not": "Put a text with ': ' in it in quotes, and each key on its own line.",
    "could not find expected ':'": "Write key: value, with a space after the colon.",
    "expected <block end>": "Give the keys that belong together the same indentation.",
    "unexpected end of stream": "Close the quotes.",
    "expected ',' or": "Close the bracket, or put a comma between the items.",
    "but found another document": "Keep one document per file: remove the lines ---.",
    "undefined alias": "Define it with &name before *name, or put the text in quotes.",
}


@dataclass(frozen=True)
class YamlFile:
    """The settings of one file, and where each stands."""

    values: dict[str, Any]
    """Plain values by key."""

    lines: dict[str, int]
    """Line of each top-level key, counted from 1."""

    path: Path
    """The file."""

    def origin(self, key: str) -> str:
        """Return where a top-level key stands, e.g. ``"configs/config.yaml, line 7"``."""
        return f"{self.path}, line {self.lines[key]}" if key in self.lines else str(self.path)


def read_yaml(path: str | os.PathLike[str]) -> YamlFile:
    """Read a file of settings.

    Numbers are what a person takes them for: ``1e-3`` is a float, ``010`` is ten, ``4:3`` is a
    text. A key that stands twice is worth one warning, and its last value holds. Only plain
    values are read, never Python objects.

    Args:
        path: The file: UTF-8, at most 1 MiB, with one mapping whose keys are texts.

    Raises:
        ConfigError: If the file is missing, empty, broken, too large or not such a mapping; names
            file, line and column, what was found, and how to mend it.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        loader = PlainLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{path} is empty. Write a setting in it, e.g. num_epochs: 30")
        if not isinstance(root, MappingNode):
            problem = "the file holds no settings. Write key: value, with a space after the colon."
            raise ConfigError(_message(path, text, root.start_mark, problem))
        sizes: dict[int, int] = {}
        if _weigh(root, path, text, sizes) - len(sizes) > MAX_ALIASED:
            raise ConfigError(
                f"{path}: the aliases (*name) stand for more than {MAX_ALIASED} values. "
                f"Write the values out, or fewer of them."
            )
        lines = {key.value: key.start_mark.line + 1 for key, _ in root.value}
        values: dict[str, Any] = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ConfigError(_explain(error, path, text)) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deep. Flatten lists and mappings.") from error
    except (AttributeError, LookupError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        fault = "a value does not fit its tag (!!...). Remove the tag."
        raise ConfigError(f"{path}: {fault}") from error
    return YamlFile(values, {key: lines[key] for key in values if key in lines}, path)


def write_yaml(data: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write settings as plain YAML that :func:`read_yaml` reads back, in the order of the keys.

    Tuples and sets become lists, paths texts, NumPy values numbers and lists. Anything else that
    YAML does not know becomes its ``str()``, with one warning that names the key. The file
    appears whole or not at all.

    Args:
        data: The settings, nested as you like.
        path: The file; its folder must exist.

    Raises:
        OSError: If the file cannot be written; names it.
    """
    strange: dict[str, str] = {}
    plain = to_plain(data, strange)
    for key, kind in strange.items():
        logger.warning("%s: a %s is not plain YAML; %s gets its text.", key, kind, path)
    text = yaml.dump(plain, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=1 << 30)
    write_atomically(path, lambda file: file.write(text.encode()))


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        hint = f": the folder {path.parent} is missing."
        if path.parent.is_dir():
            near = nearest(path.name, (one.name for one in path.parent.iterdir() if one.is_file()))
            hint = f". Did you mean {path.parent / near}?" if near else ". Check the path."
        raise ConfigError(f"There is no file {path}{hint}") from error
    except OSError as error:
        fix = "Give a YAML file that you may read."
        raise ConfigError(f"{path} cannot be read: {error.strerror}. {fix}") from error
    if len(content) > MAX_BYTES:
        fix = "Is it the right file? Long lists belong in a file of their own."
        raise ConfigError(f"{path} is larger than {MAX_BYTES >> 20} MiB, too large. {fix}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fault = f"found the byte 0x{content[error.start]:02x}, which is not UTF-8"
        raise ConfigError(f"{path}, line {line}: {fault}. Save the file as UTF-8.") from error


def _weigh(node: Node, path: Path, text: str, sizes: dict[int, int]) -> int:
    """Return how many values ``node`` stands for, aliases written out; check its keys."""
    if id(node) in sizes:
        if not sizes[id(node)]:  # we are inside it
            problem = "an alias makes a value contain itself. Write the values out."
            raise ConfigError(_message(path, text, node.start_mark, problem))
        return sizes[id(node)]
    sizes[id(node)] = 0
    children: list[Node] = [] if isinstance(node, ScalarNode) else node.value
    if isinstance(node, MappingNode):
        _check_keys(node, path, text)
        children = [part for pair in node.value for part in pair]
    sizes[id(node)] = 1 + sum([_weigh(child, path, text, sizes) for child in children])
    return sizes[id(node)]


def _check_keys(node: MappingNode, path: Path, text: str) -> None:
    """Refuse keys that are not texts; warn of those that stand twice."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag == f"{TAG}merge":
            continue
        if key.tag != f"{TAG}str":
            shown = key.value if isinstance(key, ScalarNode) else "..."
            problem = f"the key {shown!r} is not a text. Put it in quotes: '{shown}'"
            raise ConfigError(_message(path, text, key.start_mark, problem))
        if key.value in lines:
            again = f"{key.value} stands on line {lines[key.value]} and again on line {line}"
            logger.warning("%s: %s; the last one holds. Remove the other.", path, again)
        lines[key.value] = line


def _explain(error: Any, path: Path, text: str) -> str:
    """Say in one line what is wrong with a broken file, and how to mend it."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}, line {line}: found the character {chr(error.character)!r}. Remove it."
    problem = str(error.problem)
    tag = re.search(r"for the tag '(.*)'", problem)
    if tag:
        name = tag[1].replace(TAG, "!!")
        problem = (
            f"the tag {name} is not read, only plain values are. "
            f"Remove the tag and write a number, a text, a [list] or key: value."
        )
    else:
        mends = [mend for part, mend in _MENDS.items() if part in f"{error.context} {problem}"]
        problem += f". {(mends or ['Check the indentation, quotes and brackets there.'])[0]}"
    return _message(path, text, error.problem_mark or error.context_mark, problem)


def _message(path: Path, text: str, mark: Any, problem: str) -> str:
    lines = text.splitlines()
    found = lines[mark.line].strip()[:60] if mark.line < len(lines) else "the end of the file"
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}: {problem} (Found: {found})"
