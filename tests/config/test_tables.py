"""Docs and READMEs name every key with its default; a new key fails here, with the row to add."""

from __future__ import annotations

import re

import pytest

from basetrainer.engine.config import EngineConfig
from basetrainer.pruning.options import PruneOptions
from tests.config.tables import OWNERS, PAGE, ROOT, keys_of, shown, table, with_tables


def test_the_tables_of_the_docs_are_those_of_the_registry():
    text = PAGE.read_text("utf-8")
    lacking = [row for owner in OWNERS for row in table(owner).splitlines() if row not in text]
    assert not lacking, "\n".join(["run python -m tests.config.tables, or add:", *lacking])
    assert with_tables(text) == text


def defaults_in(readme: str) -> dict[str, str]:
    """Keys in the first column of the tables, and the default of each in the second."""
    found: dict[str, str] = {}
    tables = re.findall(
        r"^\| \S+ \| (?:Default|\u9ed8\u8ba4\u503c) \|.*\n((?:\|.*\n)+)", readme, re.M
    )
    for row in re.findall(r"^\| `.*", "".join(tables), re.M):
        keys, default = row.split(" | ")[:2]
        names, values = re.findall(r"`(\w+)`", keys), default.split(", ")
        found.update(zip(names, values * (1 if len(values) > 1 else len(names)), strict=True))
    return found


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_a_readme_names_every_key_with_its_default(name):
    given = defaults_in((ROOT / name).read_text("utf-8"))
    for one in [*keys_of(EngineConfig), *keys_of(PruneOptions)]:
        row = f"| `{one.name}` | {shown(one.default)} | {one.meaning} |"
        assert given.get(one.name) == shown(one.default), f"{name} lacks:\n{row}"
