"""Test accuracy of example.py on the digits, over seeds: alone, with fast.yaml, in two processes.

    python -m benchmarks.digits            # about ten minutes on two cores
    python -m benchmarks.digits --seeds 2020

Accuracy is that of the last epoch, not of the best one. Seconds are the wall time of the whole
program, imports included, and those of training alone.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = {
    "1 process": [],
    "1 process, fast.yaml": ["--config_file", str(ROOT / "configs" / "fast.yaml")],
    "2 processes": ["--distributed", "--gpu_id", "0", "1"],
}


def run(seed: int, flags: list[str]) -> tuple[float, float, float]:
    """Return accuracy in percent, seconds in all, and seconds of the epochs."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / "example.py"), "--seed", str(seed), *flags],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - begin
        (log_dir,) = Path(folder, "work_space").glob("*/log")
        with (log_dir / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        epochs = re.findall(r"\| ([\d.]+) s$", (log_dir / "train.log").read_text(), re.MULTILINE)
    return float(rows[-1]["test-Accuracy"]), seconds, sum(map(float, epochs))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Accuracy of example.py on the digits.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022])
    seeds = parser.parse_args().seeds
    print("| run | accuracy of each seed | mean | seconds in all | of training |")
    print("|---|---|---|---|---|")
    for kind, flags in KINDS.items():
        accuracies, totals, trainings = zip(*(run(seed, flags) for seed in seeds), strict=True)
        each = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
        print(
            f"| {kind} | {each} | {statistics.mean(accuracies):.2f} "
            f"| {statistics.mean(totals):.0f} | {statistics.mean(trainings):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
