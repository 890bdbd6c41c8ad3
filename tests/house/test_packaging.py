"""What is built: the same bytes each time, whole, and enough to train with without a network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import basetrainer
from scenarios.installed import NO_SOCKETS, PROGRAM, PROMISES, refused
from tests.fixtures.programs import TIMEOUT

ROOT = Path(basetrainer.__file__).parents[1]
KEPT = ("basetrainer", "configs", "docs", "examples", "scenarios", "tests", "benchmarks")

pytestmark = pytest.mark.slow


def build(folder: Path, mode: int) -> Path:
    """Build sdist and wheel from a fresh copy of the tree, and return where they are."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    tree = folder / f"tree{mode:o}"
    tree.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, tree)
        elif path.name in KEPT:
            shutil.copytree(path, tree / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in tree.rglob("*"):
        path.chmod(mode | 0o100 if path.is_dir() else mode)
        if path.is_file():
            path.touch()
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", tree],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    return folder / "dist"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel."""
    return build(tmp_path_factory.mktemp("first"), 0o644)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_two_builds_have_one_hash_whatever_times_and_modes_the_files_have(dist, tmp_path):
    assert len(hashes(dist)) == 2
    assert hashes(build(tmp_path, 0o600)) == hashes(dist)


def test_the_wheel_has_each_module_and_nothing_else(dist):
    (wheel,) = dist.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "basetrainer").rglob("*.py")}
    assert names == own | {"basetrainer/py.typed"}


def test_the_sdist_has_the_licence_the_tests_and_the_docs(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    for name in (
        "LICENSE",
        "README.md",
        "tests/conftest.py",
        "docs/step.md",
        "configs/config.yaml",
    ):
        assert name in names


def test_the_metadata_is_complete(dist):
    (wheel,) = dist.glob("*.whl")
    file = zipfile.ZipFile(wheel)
    (name,) = [name for name in file.namelist() if name.endswith("METADATA")]
    text = file.read(name).decode()
    for line in (f"Version: {basetrainer.__version__}", "License-Expression: MIT", "Name: basetr"):
        assert f"\n{line}" in text
    assert "Requires-Python: >=3.10" in text
    extras = set(re.findall(r"^Provides-Extra: (\w+)$", text, re.M))
    assert extras == {"dev", "docs", "example", "export", "plots", "prune", "timm"}


DECLARED = """
import importlib.metadata, json, os, sys
from importlib.machinery import PathFinder

installed = importlib.metadata.packages_distributions()
declared = set(json.loads(os.environ["DECLARED"]))

class Declared:
    # What nobody declares is not found, as if it were not installed.

    def find_spec(self, name, path=None, target=None):
        owners = {one.lower().replace("_", "-") for one in installed.get(name, ())}
        if owners and not owners & declared:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Declared()
"""


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def closure(name: str, seen: set[str]) -> set[str]:
    """The distributions that a distribution requires, without its extras, and those in turn."""
    for one in importlib.metadata.requires(name) or ():
        required = name_of(one)
        if "extra ==" in one or required in seen:
            continue
        seen.add(required)
        try:
            closure(required, seen)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
    return seen


@pytest.fixture(scope="module")
def site(dist, tmp_path_factory) -> Path:
    """A folder with the wheel in it, as pip would lay it out."""
    (wheel,) = dist.glob("*.whl")
    folder: Path = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def declared(site: Path, extra: str = "") -> set[str]:
    """What pip installs for the wheel, with one extra if one is given."""
    (metadata,) = site.glob("*.dist-info")
    found = {"basetrainer"}
    for one in importlib.metadata.Distribution.at(metadata).requires or ():
        needed, _, marker = one.partition(";")
        if "extra ==" in marker and (not extra or not re.search(f"['\"]{extra}['\"]", marker)):
            continue
        if inner := re.match(r"basetrainer\[(\w+)\]", needed):
            found |= declared(site, inner[1])
        else:
            found |= {name_of(needed)} | closure(name_of(needed), set())
    return found


def run(program: str, site: Path, folder: Path, names: set[str]) -> Any:
    """Run a program that finds the wheel and the named distributions only, without sockets."""
    return subprocess.run(
        [sys.executable, "-c", DECLARED + NO_SOCKETS + program],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=folder,
        env={"PYTHONPATH": str(site), "HOME": str(folder), "DECLARED": json.dumps([*names])},
    )


def test_what_the_wheel_installs_trains_offline_with_declared_dependencies_only(site, tmp_path):
    names = declared(site)
    assert {"torch", "tensorboard"} <= names
    assert {"matplotlib", "pytest", "scikit-learn"} & names == set()
    done = run(PROGRAM, site, tmp_path, names)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(site)
    assert (tmp_path / "run" / "model" / "weights.json").exists()


def test_sockets_are_really_refused(site, tmp_path):
    for call in ("socket.create_connection(('127.0.0.1', 1))", "socket.getaddrinfo('a', 1)"):
        done = run(f"import socket; {call}", site, tmp_path, declared(site))
        assert "AssertionError: socket." in done.stderr


@pytest.mark.parametrize("extra", PROMISES)
def test_an_extra_brings_what_it_promises_and_is_named_without_it(extra, site, tmp_path):
    for one in declared(site, extra):
        if one in ("nni", "onnx", "scikit-learn", "timm", "torch-pruning", "matplotlib"):
            pytest.importorskip({"scikit-learn": "sklearn"}.get(one, one.replace("-", "_")))
    assert refused(run(PROMISES[extra], site, tmp_path, declared(site))) == extra
    done = run(PROMISES[extra], site, tmp_path, declared(site, extra))
    assert done.returncode == 0, done.stderr


def test_each_extra_for_users_has_a_promise():
    (extras,) = re.findall(
        r"^\[project\.optional-dependencies\]\n(.*?)^\[",
        (ROOT / "pyproject.toml").read_text(),
        re.M | re.S,
    )
    assert set(re.findall(r"^(\w+) = ", extras, re.M)) - {"dev", "docs"} == set(PROMISES)
