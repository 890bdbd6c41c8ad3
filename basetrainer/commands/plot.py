"""``basetrainer plot``: the curves of a run, or of several side by side, as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from basetrainer._epochs import epoch_number
from basetrainer.plots.history import History, read_run


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("plot", help="draw the curves of a run, or compare several runs")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder, its log folder, its metrics.jsonl or its results.csv",
    )
    parser.add_argument("--out", default="curves.png", help="the picture (curves.png)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw the picture, and print the best epoch of each run.

    Raises:
        ConfigError: If a run is not there, or the picture cannot be written.
        DataError: If a file of a run is damaged.
        MissingExtraError: If matplotlib is not installed.
    """
    from basetrainer.plots.canvas import save
    from basetrainer.plots.curves import draw_curves

    runs = [read_run(one) for one in args.runs]
    _tell_apart(runs, args.runs)
    path = save(draw_curves(runs), args.out)
    for one in runs:
        best = one.best()
        told = (
            f", best {one.indicator} {best[1]:.6g} in epoch {epoch_number(best[0])}" if best else ""
        )
        print(f"{one.name}: {len(one.rows)} epoch{'s' * (len(one.rows) > 1)}{told}")
    print(path)
    return 0


def _tell_apart(runs: list[History], given: list[str]) -> None:
    """Call runs whose folders have the same name by what was typed."""
    names = [one.name for one in runs]
    for one, path in zip(runs, given, strict=True):
        if names.count(one.name) > 1:
            one.name = str(Path(path))
