"""Start jobs of several processes again and again, and compare what comes out bit by bit.

    python -m benchmarks.restarts --restarts 30   # a rank is killed, max_restarts starts all again
    python -m benchmarks.restarts --pairs 10      # two jobs at once that name one port
    python -m benchmarks.restarts --exits 20      # FSDP2: clean exits

The training is :mod:`scenarios.failing`. Each job is forked, so that it need not import torch
again. A line is printed as soon as a job is over, a table at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenarios import failing
from scenarios.forked import fork

LONGEST = 60.0
HEADER = ("what", "jobs", "exit code 0", "bit-equal to one left alone", "longest, s")


def start(settings: dict[str, Any], folder: Path, **options: Any) -> int:
    """Start a job whose result goes to ``result.json`` in ``folder``; return its process."""
    folder.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        found = failing.start({**settings, "work_dir": str(folder / "run")}, **options)
        (folder / "result.json").write_text(json.dumps(found))

    return fork(work, folder / "log.txt", own_session=True)


def wait(pid: int, folder: Path) -> str | None:
    """Return what came of a job; None if it did not end well, which is told."""
    end = time.monotonic() + 2 * LONGEST
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            if os.waitstatus_to_exitcode(status) == 0:
                return str(json.loads((folder / "result.json").read_text()))
            break
        time.sleep(0.02)
    else:
        os.killpg(pid, 9)
        os.waitpid(pid, 0)
    sys.stderr.write(f"--- {folder.name}\n{(folder / 'log.txt').read_text()}\n")
    return None


def restarts(folder: Path, chance: random.Random) -> list[str | None]:
    """Kill one rank of a job at a random moment, and let it be started again."""
    where = chance.choice(("train", "hook", "test", "save"))
    kill = {"how": "SIGKILL", "where": where, "rank": chance.randrange(2)}
    kill |= {"fail_at": chance.randrange(1, 11), "save_every_updates": 2}
    return [wait(start(kill, folder, max_restarts=1), folder)]


def pairs(folder: Path, chance: random.Random) -> list[str | None]:
    """Start two jobs at once that name the same port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    folders = [folder / "first", folder / "second"]
    pids = [start({}, one, dist_url=url) for one in folders]
    return [wait(pid, one) for pid, one in zip(pids, folders, strict=True)]


def exits(folder: Path, chance: random.Random) -> list[str | None]:
    """Train with FSDP2 to the end."""
    return [wait(start({"strategy": "fsdp2"}, folder), folder)]


def series(
    what: Callable[[Path, random.Random], list[str | None]], times: int, settings: dict[str, Any]
) -> list[Any]:
    """Do something so many times, and return a row of the table."""
    chance = random.Random(what.__name__)
    jobs = good = equal = 0
    longest = 0.0
    with tempfile.TemporaryDirectory() as name:
        alone = Path(name, "alone")
        expected = wait(start(settings, alone), alone)
        if expected is None:
            raise SystemExit("the job that was left alone failed")
        for number in range(times):
            begin = time.monotonic()
            found = what(Path(name, f"{what.__name__}{number}"), chance)
            seconds = time.monotonic() - begin
            longest = max(longest, seconds)
            jobs += len(found)
            good += sum(one is not None for one in found)
            equal += sum(one == expected for one in found)
            print(
                f"{what.__name__} {number + 1}: {equal} of {jobs} equal, {seconds:.1f} s",
                flush=True,
            )
    return [what.__name__, jobs, good, equal, f"{longest:.1f}"]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Start jobs again and again, and compare them.")
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--exits", type=int, default=0)
    args = parser.parse_args()
    rows = []
    if args.restarts:
        rows.append(series(restarts, args.restarts, {"save_every_updates": 2}))
    if args.pairs:
        rows.append(series(pairs, args.pairs, {}))
    if args.exits:
        rows.append(series(exits, args.exits, {"strategy": "fsdp2"}))
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
