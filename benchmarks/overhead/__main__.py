"""What a step costs over the loop by hand: this library and its peers, side by side.

    benchmarks/environments.sh                       # once: makes .peers/
    python -m benchmarks.overhead                    # the tiny step, all loops and levels
    python -m benchmarks.overhead --cases cnn --levels full
    python -m benchmarks.overhead --loops raw by_hand ours --turns 3

Each loop is its own process, in its own environment, once a round, in an order shuffled anew;
within a process it takes turns with the raw loop. Results are kept in a folder: a run that was cut
short goes on where it was, one with more rounds adds to them, and what failed is tried again. All
is run on the CPU by one thread; give it a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.overhead import tables
from benchmarks.overhead.loops import LEVELS, LOOPS
from benchmarks.overhead.rounds import ROOT, Plan, kept, run

STEPS = {"mlp": 2000, "cnn": 100}
TURNS = 1
ROUNDS = 7
PATH = ROOT / "work_space" / "overhead"
_ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def versions_of(plan: Plan) -> dict[str, str]:
    """Return the version of each library that is there."""
    found = {}
    for name in plan.loops:
        loop = LOOPS[name]
        if loop.distribution and loop.is_there(plan.peers):
            command = [str(loop.python(plan.peers)), "-c", VERSION, loop.distribution]
            told = subprocess.run(command, capture_output=True, text=True, env=_ENVIRON)
            found[name] = told.stdout.strip()
    return found


def report(plan: Plan, assets: Path) -> None:
    """Print the tables, write them into the folder, and draw the tiny step's picture."""
    results, versions = kept(plan), versions_of(plan)

    def name(loop: str) -> str:
        return tables.titles(loop, versions)

    lines: list[str] = []
    panels: dict[str, Sequence[tables.Summary]] = {}
    for case in plan.cases:
        for level in plan.levels:
            rows, errors = tables.summaries(results, case, level)
            if rows or errors:
                lines += [f"<!-- table: {case} {level} -->", *tables.table(rows, errors, name), ""]
            if rows and case == "mlp" and level != "safe":
                panels[LEVELS[level]] = rows
    print("\n".join(["", *lines]))
    (plan.folder / "tables.md").write_text("\n".join(lines), encoding="utf-8")
    if panels:
        tables.picture(panels, name, assets / "overhead.png")


def parsed() -> tuple[Plan, Path]:
    """Return what the command line asks for, and the folder of the picture."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS), metavar="LOOP")
    parser.add_argument("--cases", nargs="+", choices=STEPS, default=["mlp"])
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="processes of each loop")
    parser.add_argument("--turns", type=int, default=TURNS, help="trainings in each process")
    parser.add_argument("--steps", type=int, help=f"of a training, if not {STEPS}")
    parser.add_argument("--peers", type=Path, default=ROOT / ".peers", help="the environments")
    parser.add_argument("--folder", type=Path, default=PATH, help="where results are kept")
    parser.add_argument("--assets", type=Path, default=ROOT / "docs" / "assets")
    args = parser.parse_args()
    cases = {case: args.steps or STEPS[case] for case in args.cases}
    plan = Plan(
        loops=args.loops,
        cases=cases,
        levels=args.levels,
        turns=args.turns,
        rounds=args.rounds,
        peers=args.peers.absolute(),
        folder=args.folder,
    )
    return plan, args.assets


def main() -> None:
    """Measure, and report."""
    plan, assets = parsed()
    begin = time.monotonic()
    for one in run(plan):
        settings = one["settings"]
        cells = []
        for level, found in one["found"].items():
            if "error" in found:
                cells.append(f"{level} failed: {found['error'][:100]}")
            else:
                step, over, ratio = tables.against_raw(found, tables.CPU)
                cells.append(f"{level} {step:.1f} us, {over:+.1f}, {ratio:.3f} x raw")
        head = f"{time.monotonic() - begin:5.0f} s, round {one['round'] + 1} of {plan.rounds}"
        print(f"{head}: {settings['case']} {settings['loop']}: {'; '.join(cells)}", flush=True)
    report(plan, assets)


if __name__ == "__main__":
    main()
