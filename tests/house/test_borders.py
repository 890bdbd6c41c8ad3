"""Tests and benchmarks may change without each other: what both need is in scenarios/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "basetrainer": {"benchmarks", "docs", "examples", "scenarios", "tests"},
    "benchmarks": {"tests"},
    "scenarios": {"benchmarks", "tests"},
    "tests": {"benchmarks"},
}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_nothing_from_the_other_side(folder):
    for file in (ROOT / folder).rglob("*.py"):
        if not file.is_relative_to(ROOT / "tests" / "benchmarks"):  # they test the benchmarks
            assert not FORBIDDEN[folder] & set(imported(file)), file
