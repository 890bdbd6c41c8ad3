"""Fine-tuning from a saved file against training from scratch, over all epochs and a third.

    python -m benchmarks.finetune            # about ten minutes on two cores
    python -m benchmarks.finetune --seeds 2020

The training images of the digits are split in two halves, file by file, so that no image is seen in
both. A source network learns the first half, once all ten digits and once the digits 0 to 4 alone.
Its last file goes into ``--finetune`` of a run on all ten digits of the second half; of the second
source five classes are new, and so the classifier is. Both are compared with the same run from
random weights, over all epochs and over a third. Every run is ``example.py`` with its own settings;
the accuracy is that of the last epoch on the 355 test images.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from basetrainer.datasets.digits import write_digits

ROOT = Path(__file__).parent.parent
EPOCHS = 18
SOURCES = {"all digits": range(10), "0 to 4": range(5)}
"""The digits that each source network learns."""


def split(digits: Path, folder: Path) -> None:
    """Copy the second half of the training images into ``target``, the first for each source."""
    for label in range(10):
        images = sorted((digits / "train" / str(label)).iterdir())
        parts = {name: images[::2] for name, known in SOURCES.items() if label in known}
        for name, files in {"target": images[1::2], **parts}.items():
            place = folder / name / str(label)
            place.mkdir(parents=True)
            for file in files:
                shutil.copy(file, place)


def train(folder: Path, name: str, *flags: object) -> Path:
    """Run the example in ``folder`` and return the folder of the run."""
    program = [sys.executable, str(ROOT / "example.py"), "--work_dir", name]
    subprocess.run(
        [*program, *map(str, flags)], cwd=folder, check=True, capture_output=True, text=True
    )
    (run,) = (folder / name).iterdir()
    return run


def last_accuracy(run: Path) -> float:
    """Return the test accuracy of the last epoch, in percent."""
    with (run / "log" / "results.csv").open(newline="") as file:
        return float(list(csv.DictReader(file))[-1]["test-Accuracy"])


def compare(seed: int) -> dict[str, float]:
    """Return the accuracy of each kind of run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = write_digits(folder / "digits")
        split(digits, folder)
        whole, third = (
            ["--seed", seed, "--num_epochs", epochs] for epochs in (EPOCHS, EPOCHS // 3)
        )
        data = ["--train_data", folder / "target", "--test_data", digits / "test"]
        runs = {
            f"from scratch, {EPOCHS} epochs": train(folder, "whole", *data, *whole),
            f"from scratch, {EPOCHS // 3} epochs": train(folder, "third", *data, *third),
        }
        for name in SOURCES:
            source = train(
                folder, f"{name} run", *whole, "--train_data", folder / name, "--test_data"
            )
            (weights,) = (source / "model").glob("latest_model_*.pth")
            tuned = train(folder, f"{name} tuned", *data, *third, "--finetune", weights)
            runs[f"fine-tuned from {name}, {EPOCHS // 3} epochs"] = tuned
        return {kind: last_accuracy(run) for kind, run in runs.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Fine-tuning on the digits, and from scratch.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022])
    found = [compare(seed) for seed in parser.parse_args().seeds]
    print("| run | accuracy of each seed | mean |\n|---|---|---|")
    for kind in found[0]:
        figures = [one[kind] for one in found]
        each = ", ".join(f"{figure:.2f}" for figure in figures)
        print(f"| {kind} | {each} | {statistics.mean(figures):.2f} |")


if __name__ == "__main__":
    main()
