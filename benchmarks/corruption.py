"""Damage the newest checkpoint of a run at random places, and see that each damage is noticed.

    python -m benchmarks.corruption     # 500 flipped bits, 500 cuts; 40 of the runs then go on

The damages are dealt to both files of the checkpoint and to every region of each. Noticed means:
the checkpoint before is used instead, and the one warning names the damaged file. A run that goes
on after a damage must end with the bits of the unharmed one.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from scenarios.corruption import examine


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Damage checkpoints, and see that it is noticed.")
    parser.add_argument("--count", type=int, default=500, help="damages of each kind")
    parser.add_argument("--resumes", type=int, default=20, help="after how many the run goes on")
    args = parser.parse_args()
    logging.lastResort = None  # a thousand warnings
    with tempfile.TemporaryDirectory() as folder:
        tallies = examine(Path(folder), args.count, args.resumes)
    print(
        "| damage | done | noticed, the one before used | file named | went on | with equal bits |"
    )
    print("|---|---|---|---|---|---|")
    for kind, one in tallies.items():
        row = (kind, one.done, one.noticed, one.named, one.resumed, one.equal)
        print(f"| {' | '.join(map(str, row))} |")
    if any(one.named < one.done or one.equal < one.resumed for one in tallies.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
