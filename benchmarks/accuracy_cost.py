"""What AccuracyRecorder costs per batch, from the first samples to a million.

    python -m benchmarks.accuracy_cost [SAMPLES]

Each figure is the mean CPU time of a batch of 256 samples in 10 classes, up to that many samples.
"""

from __future__ import annotations

import sys
import time

import torch

from basetrainer.metric.accuracy_recorder import AccuracyRecorder

BATCH, CLASSES = 256, 10
MARKS = (10_000, 30_000, 100_000, 300_000, 1_000_000)


def main(most: int = MARKS[-1]) -> None:
    """Print the cost of a batch in each stretch."""
    torch.set_num_threads(1)
    batch = (None, torch.randint(CLASSES, (BATCH,)))
    logits = torch.randn(BATCH, CLASSES)
    first_use = AccuracyRecorder(topk=(5,)).new_tally()  # torch gets ready
    for _ in range(100):
        first_use.add(batch, logits, None, BATCH)
    first_use.figures()
    tally = AccuracyRecorder(topk=(5,)).new_tally()
    seen = 0
    for mark in (one for one in MARKS if one <= most):
        begin, first = time.process_time(), seen
        while seen < mark:
            tally.add(batch, logits, None, BATCH)
            tally.is_empty = False
            seen += BATCH
        tally.figures()
        cost = 1e6 * (time.process_time() - begin) / ((seen - first) / BATCH)
        print(f"up to {mark:>9,} samples: {cost:6.1f} us a batch")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
