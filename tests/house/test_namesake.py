"""The old package has this one's name: who meets it is told, and is never sent to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import basetrainer
from basetrainer._namesake import namesakes, requirement
from tests.fixtures.programs import TIMEOUT

CLONE = Path(basetrainer.__file__).parents[1]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a package laid out as 1.0.4 is: no torch needed to import its top."""
    for room in (".", "engine", "callbacks", "utils", "metric", "scheduler"):
        folder = tmp_path / "old" / "basetrainer" / room
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("# -*-coding: utf-8 -*-\n")
    package = tmp_path / "old" / "basetrainer"
    (package / "__init__.py").write_text("# -*-coding: utf-8 -*-\n__version__ = '1.0.4'\n")
    (package / "utils" / "log.py").write_text("from pybaseutils.log import *\n")
    (package / "engine" / "trainer.py").write_text("class EngineTrainer:\n    pass\n")
    metadata = tmp_path / "old" / "basetrainer-1.0.4.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: basetrainer\nVersion: 1.0.4\n")
    return tmp_path / "old"


def run(*command: str | Path, cwd: Path, path: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=cwd,
        env=env,
    )


def test_the_example_says_in_one_line_that_it_got_the_old_package(old, tmp_path):
    shutil.copy(CLONE / "example.py", tmp_path)
    done = run("example.py", cwd=tmp_path, path=str(old))
    assert done.returncode == 1
    assert done.stderr == (
        f"{old / 'basetrainer' / '__init__.py'} is the old basetrainer. "
        "Install this one: bash setup.sh\n"
    )


def test_info_tells_of_a_copy_in_the_current_folder_that_programs_there_import(old, tmp_path):
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "basetrainer"  # as pip writes it
    command.write_text("import sys\nfrom basetrainer.__main__ import main\nsys.exit(main())\n")
    done = run(command, "info", cwd=old, path=str(CLONE))
    assert done.returncode == 0, done.stderr
    (warning,) = re.findall("^warning: (.*)$", done.stdout, re.M)
    assert warning == (
        f"{old / 'basetrainer'} is basetrainer 1.0.4: programs in this folder import it, "
        f"and not {CLONE / 'basetrainer'}."
    )
    (old / "program.py").write_text("import basetrainer\nprint(basetrainer.__version__)\n")
    assert run("program.py", cwd=old, path=str(CLONE)).stdout == "1.0.4\n"  # it is true


def test_one_further_along_the_path_is_told_and_oneself_is_not(old, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(CLONE), str(old), *sys.path])
    others = [sentence for sentence in namesakes() if "1.0.4" in sentence]
    assert others == [
        f"{old / 'basetrainer'} is basetrainer 1.0.4: programs import it where {CLONE} does not "
        "come first on sys.path."
    ]
    assert not [one for one in namesakes() if one.startswith(f"{CLONE / 'basetrainer'} ")]


def test_an_extra_is_never_asked_from_the_index_where_that_would_bring_the_old_one(
    old, tmp_path, monkeypatch
):
    new = tmp_path / "basetrainer-2.0.0.dist-info" / "METADATA"
    new.parent.mkdir()
    new.write_text("Metadata-Version: 2.1\nName: basetrainer\nVersion: 2.0.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert requirement("plots") == "basetrainer[plots]"
    monkeypatch.setattr(sys, "path", [str(old)])
    assert requirement("plots") == f"{CLONE}[plots]"
    monkeypatch.setattr(sys, "path", [])
    assert requirement("plots") == f"{CLONE}[plots]"
