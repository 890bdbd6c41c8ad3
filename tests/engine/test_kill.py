"""Kill a training with everything on, and start it again; benchmarks/kill_series.py does more."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scenarios import kill_series

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")


def killed(folder: Path, settings: dict[str, Any], number: int, kills: int) -> kill_series.Tally:
    return kill_series.Series(folder, settings, number, f"{settings}").run(kills)


@pytest.fixture(scope="module")
def fresh() -> Iterator[ProcessPoolExecutor]:
    """A fresh process: the threads that torch has here by now would not come along in a fork."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as made:
        yield made


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize(
    ("kills", "settings", "name"),
    [
        (3, {"num_workers": 0}, "SIGKILL"),
        (2, {"num_workers": 2, "start_method": "fork", "async_save": True}, "SIGKILL"),
        (2, {"num_workers": 0}, "SIGTERM"),
    ],
)
def test_a_killed_run_ends_like_an_unharmed_one(kills, settings, name, fresh, tmp_path):
    tally = fresh.submit(killed, tmp_path, settings, getattr(signal, name), kills).result()
    assert (tally.kills, tally.unlike, tally.bad_codes) == (kills, 0, 0)
    if name == "SIGTERM":
        assert max(tally.redone, default=0) <= 1
