"""Let one of several processes fail, in every way and everywhere, and look at how the job ends.

    python -m benchmarks.failures                      # 2 ranks, 5 repeats of each: a table
    python -m benchmarks.failures --world 2 4
    python -m benchmarks.failures --how stall exit --where hook --rank 1 --repeats 1
    python -m benchmarks.failures --launcher torchrun  # slow: every process imports torch

The training is :mod:`scenarios.failing`. Each job is a fresh process (forked, so that it need not
import torch again, unless torchrun starts it). A job is good if it ends in time, 10 seconds after
the failure, or 5 after the limit of a stall; with an exit code that is not 0; blames the right rank
for the right thing; and leaves no process. A row is printed as soon as its repeats are done.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios import failing
from scenarios.failing import blames
from scenarios.forked import fork

HOWS = ("raise", "SIGKILL", "exit", "stall")
WHERES = ("train", "test", "hook", "worker", "save")
STALL_LIMIT = 3.0
IN_TIME = 10.0
AFTER_LIMIT = 5.0
HEADER = ("ranks", "how", "where", "rank", "jobs", "good", "longest, s", "what was wrong")


@dataclass
class Tally:
    """What came of the repeats of one case."""

    jobs: int = 0
    good: int = 0
    longest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, seconds: float, faults: list[str]) -> None:
        """Count one job."""
        self.jobs += 1
        self.good += not faults
        self.longest = max(self.longest, seconds)
        self.faults += faults


def left_over(session: int) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def start(case: dict[str, Any], log: Path) -> int:
    """Start a job by fork, in a session of its own, and return its process."""
    return fork(lambda: failing.start(case), log, own_session=True)


def torchrun(case: dict[str, Any], log: Path) -> int:
    """Start a job by torchrun, in a session of its own, and return its process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
    command += [str(case["world"]), "-m", "scenarios.failing", json.dumps(case)]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdout=file, start_new_session=True)
    process.returncode = 0  # it is waited for by its number
    return process.pid


def run(case: dict[str, Any], folder: Path) -> tuple[float, list[str]]:
    """Run one job, and return the seconds from the failure to its end, and what was wrong."""
    log, moment = folder / "log.txt", folder / "moment"
    case = {**case, "work_dir": str(folder / "run"), "moment": str(moment)}
    pid = (torchrun if case["launcher"] == "torchrun" else start)(case, log)
    end = time.monotonic() + 120.0
    done = 0
    while not done and time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
    now = time.time()
    faults = []
    left = left_over(pid)
    if not done or left:
        faults.append(f"{len(left)} processes left")
        for one in left:
            os.kill(one, 9)
        if not done:
            os.waitpid(pid, 0)
    elif os.waitstatus_to_exitcode(status) == 0:
        faults.append("exit code 0")
    if not moment.exists():
        return 0.0, ["it did not fail"]
    seconds = now - float(moment.read_text())
    if seconds > (STALL_LIMIT + AFTER_LIMIT if case["how"] == "stall" else IN_TIME):
        faults.append(f"{seconds:.1f} s")
    text = log.read_text()
    if not blames(text, case):
        faults.append("wrong blame")
        sys.stderr.write(f"--- {case}\n{text}\n")
    return seconds, faults


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Let ranks fail, and look at how jobs end.")
    parser.add_argument("--world", type=int, nargs="+", default=[2], help="ranks")
    parser.add_argument("--how", nargs="+", default=HOWS, choices=[*HOWS, "sys.exit"])
    parser.add_argument("--where", nargs="+", default=WHERES, choices=WHERES)
    parser.add_argument("--rank", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--launcher", default="launch", choices=["launch", "torchrun"])
    args = parser.parse_args()
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    jobs = good = 0
    for world, how, where, rank in itertools.product(args.world, args.how, args.where, args.rank):
        case = {"how": how, "where": where, "rank": rank, "world": world}
        case |= {"launcher": args.launcher, "stall_limit": STALL_LIMIT if how == "stall" else None}
        tally = Tally()
        for _ in range(args.repeats):
            with tempfile.TemporaryDirectory() as folder:
                tally.add(*run(case, Path(folder)))
        faults = ", ".join(sorted(set(tally.faults))) or "-"
        row = [world, how, where, rank, tally.jobs, tally.good, f"{tally.longest:.1f}", faults]
        print(f"| {' | '.join(map(str, row))} |", flush=True)
        jobs, good = jobs + tally.jobs, good + tally.good
    print(f"\n{good} of {jobs} jobs ended as they should")


if __name__ == "__main__":
    main()
