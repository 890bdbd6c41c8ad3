"""The loops that the overhead benchmark compares do the same work, and a missing one is a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.overhead import tables
from benchmarks.overhead.measure import measure, train
from benchmarks.overhead.rounds import Plan, kept, run


@pytest.mark.parametrize("level", ["bare", "full", "safe"])
@pytest.mark.parametrize("loop", ["by_hand", "ours"])
def test_a_loop_ends_with_the_weights_of_the_raw_one(loop, level):
    reference = train("raw", "mlp", level, 30)[1]
    mine = train(loop, "mlp", level, 30)[1]
    assert (mine - reference).abs().max() <= tables.SAME * reference.abs().max()


def test_each_level_is_measured_against_the_raw_loop_beside_it():
    settings = {"loop": "by_hand", "case": "mlp", "levels": ["bare"], "steps": 30, "turns": 2}
    found = measure(settings)["bare"]
    assert len(found["raw"]) == len(found["loop"]) + 1
    step, over, ratio = tables.against_raw(
        {"loop": [[12, 0], [18, 0], [12, 0]], "raw": [[10, 0], [10, 0], [14, 0], [10, 0]]}, 0
    )
    assert (step, over, ratio) == (12, 2, 1.2)


def test_a_loop_without_its_environment_leaves_a_row_and_the_rest_goes_on(tmp_path):
    plan = Plan(
        loops=["lightning_loop", "ignite_loop"],
        cases={"mlp": 30},
        levels=["bare", "safe"],
        turns=1,
        rounds=1,
        peers=Path("nowhere"),
        folder=tmp_path,
    )
    assert len(list(run(plan))) == len(kept(plan)) == 2
    rows, errors = tables.summaries(kept(plan), "mlp", "bare")
    assert rows == []
    assert list(tables.table(rows, errors, str))[-1].count("|") == len(tables.HEADER) + 1
