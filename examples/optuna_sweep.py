"""A sweep with Optuna: one trainer after the other in one process, bad trials ended early.

pip install optuna
python -m examples.optuna_sweep
"""

from __future__ import annotations

import argparse
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]

import basetrainer as bt
from basetrainer.utils import log
from examples.common import DigitTrainer


class Report(bt.Callback):
    """Tells Optuna each epoch's accuracy, and ends a trial that Optuna gives up."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self.trial = trial
        self.is_pruned = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not logs.get("test"):  # with test_every: 2 only every other epoch has a test
            return
        self.trial.report(logs["test"]["Acc"], epoch)
        if self.trial.should_prune() and self.engine is not None:
            self.is_pruned = True
            self.engine.stop("Optuna gives this trial up")


def train(settings: dict[str, Any], *callbacks: bt.Callback) -> float:
    """Train with the settings, and return the accuracy.

    A trainer seeds everything when it is made and leaves nothing behind: the same settings give the
    same accuracy, whatever was trained before in this process.
    """
    logs = DigitTrainer({**settings, "progress": False}, callbacks).run()
    return float(logs["test"]["Acc"])


def objective(trial: optuna.Trial, num_epochs: int) -> float:
    """One trial."""
    settings = {
        "num_epochs": num_epochs,
        "lr": trial.suggest_float("lr", 1e-3, 1.0, log=True),
        "width": trial.suggest_categorical("width", [16, 32, 64]),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64]),
    }
    report = Report(trial)
    accuracy = train(settings, report)
    if report.is_pruned:
        raise optuna.TrialPruned
    return accuracy


def main(argv: list[str] | None = None) -> optuna.Study:
    """Search, and return the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_trials", type=int, default=20)
    parser.add_argument("--num_epochs", type=int, default=4)
    args = parser.parse_args(argv)
    logger = log.set_logger(level="info")
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: objective(trial, args.num_epochs), n_trials=args.num_trials)
    logger.info("best: %s, accuracy %.2f", study.best_params, study.best_value)
    return study


if __name__ == "__main__":
    main()
