"""Split one global batch over processes and micro-batches in every way, and compare the weights.

    python -m benchmarks.split_grid              # 1x8, 2x4, 4x2, 8x1; tails of 0 to 7; masks
    python -m benchmarks.split_grid --worlds 2   # some of them

Eight samples are a global batch: as one batch in one process, which is the reference, and as R
processes times A micro-batches of one sample. The training set has two global batches and a tail,
so that ranks and micro-batches go without; with masks, labels that count for nothing are in all of
them, one global batch has no other. All in float64.
"""

from __future__ import annotations

import argparse

from scenarios.split_grid import GLOBAL, WITHIN, compare

HEADER = ("processes x micro-batches", "runs", "largest difference", "same updates and lr")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Split a global batch in every way.")
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tails", type=int, nargs="+", default=list(range(GLOBAL)))
    args = parser.parse_args()
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    for world in args.worlds:
        runs, largest, same = compare(world, args.tails)
        row = (f"{world} x {GLOBAL // world}", runs, f"{largest:.1e}", f"{same} of {runs}")
        print(f"| {' | '.join(map(str, row))} |", flush=True)
        if largest > WITHIN or same < runs:
            raise SystemExit(f"{world} x {GLOBAL // world} differs")


if __name__ == "__main__":
    main()
