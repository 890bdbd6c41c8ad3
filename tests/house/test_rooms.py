"""Taste, enforced: small modules that say what they do, and import downward."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import basetrainer
from tests.fixtures.programs import TIMEOUT

ROOT = Path(basetrainer.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_its_job_and_stays_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert text.isascii()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert docstring.splitlines()[0].endswith(".")


def test_package_inits_are_a_docstring():
    for path in ROOT.glob("*/__init__.py"):
        assert len(ast.parse(path.read_text()).body) == 1, path


def test_imports_point_downward():
    done = subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--config",
            ROOT.parent / "pyproject.toml",
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stdout
