"""Kill a training with everything on, and start it again; benchmarks/kill_series.py does more."""

from __future__ import annotations

import signal
import sys

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
    number = getattr(signal, name)
    tally = kill_series.Series(tmp_path, settings, number, f"{settings}").run(kills)
    assert (tally.kills, tally.unlike, tally.bad_codes) == (kills, 0, 0)
    if name == "SIGTERM":
        assert max(tally.redone, default=0) <= 1
