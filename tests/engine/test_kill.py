"""Kill a training with everything on, and start it again; benchmarks/kill_series.py does more."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from benchmarks import kill_series

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize(
    ("kills", "settings", "name"),
    [
        (5, {"num_workers": 0}, "SIGKILL"),
        (3, {"num_workers": 2, "async_save": True}, "SIGKILL"),
        (4, {"num_workers": 0}, "SIGTERM"),
    ],
)
def test_a_killed_run_ends_like_an_unharmed_one(kills, settings, name, tmp_path):
    found: Any = kill_series.series(tmp_path, f"{settings}", settings, kills, getattr(signal, name))
    _, _, struck, _, unlike, bad_codes, *_ = (part.strip() for part in found.split("|"))
    assert (struck, unlike, bad_codes) == (str(kills), "0", "0")
