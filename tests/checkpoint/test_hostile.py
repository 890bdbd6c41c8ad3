"""Nothing that a hostile file holds is executed, and it takes no memory; benchmarks/hostile.py."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
import torch

from scenarios.hostile import PLACES, Outcome, Victim, outcome, read_yaml
from scenarios.hostile_files import FILES, GIANTS, MANIFESTS, MARK, PICKLES, YAMLS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is in /proc")


@pytest.fixture(scope="module")
def victim(tmp_path_factory) -> Victim:
    torch.set_num_threads(1)
    return Victim(tmp_path_factory.mktemp("victim"))


def check(found: Outcome, case: str) -> None:
    assert not found.executed
    assert found.is_clear, found.error
    assert found.mebibytes < 100
    if case in PICKLES or case in FILES:
        assert found.error is not None


@pytest.mark.parametrize("case", PICKLES)
def test_a_hostile_pickle_would_execute_something(case, tmp_path):
    torch.save({"a": PICKLES[case]()}, tmp_path / "evil.pt")
    with contextlib.suppress(Exception):  # after it was executed
        torch.load(tmp_path / "evil.pt", weights_only=False)
    assert Path(MARK).exists()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", [*PICKLES, *GIANTS, *FILES])
def test_a_hostile_file_is_refused_in_one_line(victim, case, place):
    path, read = victim.reader(place)
    victim.put(path, case)
    check(outcome(read), case)


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_hostile_manifest_is_refused_in_one_line(victim, case):
    victim.put_manifest(case)
    found = outcome(victim.read_manifest)
    check(found, case)
    assert found.error is not None


@pytest.mark.parametrize("case", YAMLS)
def test_hostile_settings_are_refused_in_one_line(case):
    found = outcome(lambda: read_yaml(YAMLS[case]))
    check(found, case)
    assert found.error is not None
