"""Kill a training at random moments until it is through, and compare it with an unharmed one.

    python -m benchmarks.kill_series --kills 200               # SIGKILL, 0 and 2 loader workers
    python -m benchmarks.kill_series --signal TERM --kills 50  # SIGTERM: must leave with code 75

The training is :mod:`scenarios.killable`. Each attempt is a fresh process (forked, so that it need
not import torch again). Every second kill comes at a random moment of the run, the others wait for
one of the run's phases in turn, so that each is struck often. When as many kills as asked for have
struck, what came out is compared bit by bit: weights, average, optimizer, the state of every
callback, each figure of ``results.csv`` and ``metrics.jsonl`` (seconds excepted), and the sum of
each batch that was trained on.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path

from scenarios import beacon
from scenarios.kill_series import Series

HEADER = (
    *("run", "kills", *beacon.PHASES, "runs", "unlike the unharmed one"),
    *("wrong exit codes", "steps redone", "at most", "longest exit, s"),
)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Kill trainings, and compare them bit by bit.")
    parser.add_argument("--kills", type=int, default=200, help="of each row")
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--net", default="small", choices=["small", "resnet18"])
    parser.add_argument("--seed", default="", help="of the moments")
    parser.add_argument("--async_save", action="store_true")
    args = parser.parse_args()
    number = signal.SIGKILL if args.signal == "KILL" else signal.SIGTERM
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    for workers in args.workers:
        settings = {"num_workers": workers, "net": args.net, "async_save": args.async_save}
        name = f"{args.net}, {workers} workers, SIG{args.signal}"
        with tempfile.TemporaryDirectory() as folder:
            series = Series(Path(folder), settings, number, f"{name} {args.seed}")
            row = series.run(args.kills).row()
            print(f"| {' | '.join(map(str, [name, *row]))} |", flush=True)


if __name__ == "__main__":
    main()
