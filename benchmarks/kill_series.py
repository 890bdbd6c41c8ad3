"""Kill a training at random moments until it is through, and compare it with an unharmed one.

    python -m benchmarks.kill_series --kills 200               # SIGKILL, 0 and 2 loader workers
    python -m benchmarks.kill_series --signal TERM --kills 50  # SIGTERM: must leave with code 75

The training is :mod:`benchmarks.killable`. Each attempt is a fresh process (forked, so that it need
not import torch again). When as many kills as asked for have struck, what came out is compared bit
by bit: weights, average, optimizer, the state of every callback, each figure of ``results.csv`` and
``metrics.jsonl`` (seconds excepted), and the sum of each batch that was trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import killable

PREEMPTED = 75


def start(settings: dict[str, Any], log: Path) -> int:
    """Fork a process that trains, and return its number."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        killable.main(settings)
        code = 0
    except BaseException as error:
        code = getattr(error, "exit_code", 1)
        if code != PREEMPTED:
            import traceback

            traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int, seconds: float) -> int | None:
    """Return the exit code within ``seconds``, None if the process still runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def finish(settings: dict[str, Any], log: Path) -> float:
    """Train to the end and return the seconds that took."""
    begin = time.monotonic()
    code = wait(start(settings, log), 300)
    if code != 0:
        raise SystemExit(f"exit code {code}:\n{log.read_text()}")
    return time.monotonic() - begin


def outcome(work_dir: Path) -> dict[str, Any]:
    """Return everything that must be equal."""
    final: dict[str, Any] = json.loads((work_dir / "final.json").read_text())
    with (work_dir / "log" / "results.csv").open(newline="") as file:
        final["csv"] = list(csv.reader(file))
    lines = (work_dir / "log" / "metrics.jsonl").read_text().splitlines()
    final["jsonl"] = [
        {key: value for key, value in json.loads(line).items() if key not in ("seconds", "time")}
        for line in lines
    ]
    final["models"] = sorted(path.name for path in (work_dir / "model").iterdir())
    return final


def series(folder: Path, name: str, settings: dict[str, Any], kills: int, number: int) -> str:
    """Kill runs until so many kills have struck, and return a row of the table."""
    log = folder / "log.txt"
    chance = random.Random(name)
    reference = {**settings, "work_dir": str(folder / "reference")}
    seconds = finish(reference, log)
    expected = outcome(Path(reference["work_dir"]))
    struck = runs = bad_codes = unlike = 0
    longest = 0.0
    while struck < kills:
        work_dir = folder / f"run{runs}"
        mine = {**settings, "work_dir": str(work_dir)}
        before = struck
        while struck < kills and struck - before < 8:  # then let it come to its end
            pid = start(mine, log)
            code = wait(pid, chance.uniform(0.0, seconds))
            if code is not None:
                bad_codes += code != 0
                break
            struck += 1
            os.kill(pid, number)
            begin = time.monotonic()
            code = wait(pid, 60)
            longest = max(longest, time.monotonic() - begin)
            # A signal before run() listens, or after it stopped to, ends the process as usual.
            bad_codes += number == signal.SIGTERM and code not in (PREEMPTED, -number, 0)
        finish(mine, log)
        runs += 1
        found = outcome(work_dir)
        unlike += found != expected
        for key in expected:
            if found[key] != expected[key]:
                sys.stderr.write(f"{name}: {work_dir}: {key} differs\n")
    return f"| {name} | {struck} | {runs} | {unlike} | {bad_codes} | {longest:.2f} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Kill trainings, and compare them bit by bit.")
    parser.add_argument("--kills", type=int, default=200, help="of each row")
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--net", default="small", choices=["small", "resnet18"])
    parser.add_argument("--async_save", action="store_true")
    args = parser.parse_args()
    number = signal.SIGKILL if args.signal == "KILL" else signal.SIGTERM
    print("| run | kills | runs | unlike the unharmed one | wrong exit codes | longest exit, s |")
    print("|---|---|---|---|---|---|")
    for workers in args.workers:
        settings = {"num_workers": workers, "net": args.net, "async_save": args.async_save}
        with tempfile.TemporaryDirectory() as folder:
            name = f"{args.net}, {workers} workers, SIG{args.signal}"
            print(series(Path(folder), name, settings, args.kills, number), flush=True)


if __name__ == "__main__":
    main()
