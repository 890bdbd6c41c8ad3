"""``basetrainer check``: the data of a configuration, looked at before training."""

from __future__ import annotations

import argparse
import sys

from basetrainer.config.parser import load_config


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "check", help="look for broken, missing and doubled images of a configuration"
    )
    parser.add_argument("config_file", metavar="CONFIG", help="a YAML file of settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report, and return 1 if there is a fault.

    Raises:
        ConfigError: If the data cannot be opened at all.
    """
    from tqdm import tqdm

    from basetrainer.datasets.check import check_config  # loads torch: --version shall not wait

    # Nothing is shown where nobody looks: disable=None is tqdm's word for that.
    with tqdm(unit="image", leave=False, disable=None, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check_config(load_config(args.config_file), progress=show)
    print(report.text())
    return 0 if report.ok else 1
