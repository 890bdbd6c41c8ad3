"""Whatever part of a checkpoint is damaged, it is noticed; benchmarks/corruption.py does more."""

from __future__ import annotations

from scenarios.corruption import KINDS, examine


def test_flipped_bits_and_cuts_are_noticed_and_the_run_goes_on_to_equal_bits(tmp_path):
    tallies = examine(tmp_path, count=60, resumes=1)
    assert tuple(tallies) == KINDS
    for one in tallies.values():
        assert (one.done, one.noticed, one.named) == (60, 60, 60)
        assert (one.resumed, one.equal) == (1, 1)
