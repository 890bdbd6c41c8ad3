"""Accuracy of example.py on the digits when resnet18 loses half of its channels, over seeds.

    python -m benchmarks.pruning_digits                              # ten minutes on two cores
    python -m benchmarks.pruning_digits --folder F --seeds 2020      # one seed at a time: the table
    python -m benchmarks.pruning_digits --folder F --seeds 2021      # is of all that F has by then
    python -m benchmarks.pruning_digits --folder F --prune_mod Slim

For each seed the full network is trained, then half of the channels are removed and the rest is
trained on, each for the epochs of configs/config.yaml; beside it the full network is trained on
for as long. Accuracy, in percent, is that of the last epoch of each, not of the best one.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COLUMNS = ("full", "right after pruning", "pruned, trained on", "full, trained on")


def example(folder: Path, *flags: object) -> Path:
    """Run example.py and return the folder of the run."""
    before = set(folder.glob("work_space/*"))
    command = [sys.executable, str(ROOT / "example.py"), *map(str, flags)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (run,) = set(folder.glob("work_space/*")) - before
    return run


def last_accuracy(run: Path) -> float:
    """Return the test accuracy of a run's last epoch."""
    with (run / "log" / "results.csv").open(newline="") as file:
        return float(list(csv.DictReader(file))[-1]["test-Accuracy"])


def measure(seed: int, prune_mod: str, config: Path) -> dict[str, Any]:
    """Return what one seed gives."""
    flags = ("--config_file", config, "--seed", seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = example(folder, *flags, "--use_prune")
        (pruned,) = run.glob("pruned1*")
        rows = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in (run / "pruning.md").read_text().splitlines()
            if line.startswith("|")
        ]
        after = float(rows[3][rows[0].index("Accuracy")])
        found = [last_accuracy(run), after, last_accuracy(pruned)]
        (best,) = (run / "model").glob("best_model_*.pth")
        found.append(last_accuracy(example(folder, *flags, "--finetune", best)))
    return {
        "seed": seed,
        "prune_mod": prune_mod,
        "accuracy": found,
        "cost": [[row[0], *row[1:4]] for row in rows[2:4]],
    }


def table(results: list[dict[str, Any]]) -> None:
    """Print the accuracies, and what the last seed says of sizes and speed."""
    print(f"| seeds | {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---|")
    columns = list(zip(*(one["accuracy"] for one in results), strict=True))
    seeds = ", ".join(str(one["seed"]) for one in results)
    each = [", ".join(f"{value:.2f}" for value in column) for column in columns]
    print(f"| {seeds} | {' | '.join(each)} |")
    means = [f"{statistics.mean(column):.2f}" for column in columns]
    print(f"| mean | {' | '.join(means)} |\n")
    print("| resnet18, 32x32 | parameters | MACs | latency |\n|---|---|---|---|")
    for row in results[-1]["cost"]:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """Measure what is missing, and print tables of all there is."""
    parser = argparse.ArgumentParser(description="Accuracy of a pruned resnet18 on the digits.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022])
    parser.add_argument("--prune_mod", default="L1")
    parser.add_argument("--folder", type=Path, help="where the results of each seed are kept")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    config = folder.resolve() / f"{args.prune_mod}.yaml"
    config.write_text(f"prune_mod: {args.prune_mod}\nprogress: False\n")
    for seed in args.seeds:
        file = folder / f"{args.prune_mod}-{seed}.json"
        if not file.exists():
            file.write_text(json.dumps(measure(seed, args.prune_mod, config)))
    files = sorted(folder.glob(f"{args.prune_mod}-*.json"))
    print(f"Pruned by {args.prune_mod} at sparsity 0.5:\n")
    table([json.loads(file.read_text()) for file in files])


if __name__ == "__main__":
    main()
