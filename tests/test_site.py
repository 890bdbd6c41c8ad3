"""The site of the docs: it builds without a warning, and nothing public is missing in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import basetrainer
import example
from tests.fixtures.programs import TIMEOUT

DOCS = Path(example.__file__).parent / "docs"
API = {
    name: page.name
    for page in sorted((DOCS / "api").glob("*.md"))
    for name in re.findall(r"automodule:: (\S+)", page.read_text("utf-8"))
}


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^[\w/]+$", (DOCS / "index.md").read_text("utf-8"), re.M)
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(pages - {"index"})


def test_the_reference_has_a_page_for_what_the_package_exports():
    homes = {f"basetrainer.{home}" for home in basetrainer._HOMES.values()}
    assert homes <= set(API)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="the site is built with the extra: basetrainer[docs]")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    for name, page in API.items():
        text = (tmp_path / "api" / page).with_suffix(".html").read_text("utf-8")
        assert f'id="module-{name}"' in text
