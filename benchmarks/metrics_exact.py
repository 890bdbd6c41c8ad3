"""Whether the figures of several processes are those of one, for every size of the data.

    python -m benchmarks.metrics_exact

For 1 to 40 samples, batches of 1, 4 and 7, and 1, 2 and 3 processes: accuracy, top-2 accuracy and
confusion matrices must be identical, and losses (float64) equal within 1e-12; for one test set, and
for two sets by name with several losses. Training figures are compared too, with a learning rate of
0, where no sample is left out of the epoch. Each world is started once.
"""

from __future__ import annotations

import itertools

import basetrainer as bt
from scenarios.metrics_exact import BATCHES, SIZES, WORLDS, differences, figures


def main() -> None:
    """Print a row for each number of processes."""
    cases = list(itertools.product(SIZES, BATCHES, (False, True)))
    alone = figures(cases)
    print("| processes | cases | figures compared | counts that differ | largest loss difference |")
    print("|---|---|---|---|---|")
    for world in WORLDS:
        found = bt.launch(figures, world, args=(cases,))
        compared, unlike, largest = differences(alone, found)
        print(
            f"| {world} | {len(cases)} | {compared} | {len(unlike)} | {largest:.1e} |", flush=True
        )


if __name__ == "__main__":
    main()
