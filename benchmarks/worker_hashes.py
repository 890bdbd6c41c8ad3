"""Is a run the same for any number of loader workers, and however they are started?

    python -m benchmarks.worker_hashes                  # a small net
    python -m benchmarks.worker_hashes --net resnet18

The run is :mod:`scenarios.killable`; the hash is that of weights, averaged weights, optimizer and
the states of all callbacks at its end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from scenarios import killable

METHODS = ("fork", "forkserver", "spawn")


def final_hash(net: str, num_workers: int, start_method: str | None) -> str:
    """Train, and return the hash of what came out."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"net": net, "num_workers": num_workers, "start_method": start_method}
        killable.main({**settings, "work_dir": folder, "num_epochs": 2})
        final = json.loads(Path(folder, "final.json").read_text())
    return str(final["hash"])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Compare runs with loader workers bit by bit.")
    parser.add_argument("--net", default="small", choices=["small", "resnet18"])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    args = parser.parse_args()
    print("| workers | started by | hash |\n|---|---|---|")
    hashes = set()
    for num_workers in args.workers:
        for method in METHODS if num_workers else (None,):
            found = final_hash(args.net, num_workers, method)
            hashes.add(found)
            print(f"| {num_workers} | {method or '-'} | {found[:16]} |", flush=True)
    print(f"\n{args.net}: {len(hashes)} hash{'es' if len(hashes) > 1 else ''}")
    sys.exit(len(hashes) > 1)


if __name__ == "__main__":
    main()
