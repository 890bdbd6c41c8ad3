"""The command ``basetrainer`` (also ``python -m basetrainer``)."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence

from basetrainer import _namesake
from basetrainer.__version__ import __version__
from basetrainer.commands import check, convert, lr, plot, predict, test
from basetrainer.errors import BaseTrainerError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="basetrainer", description="Tools around training runs of basetrainer."
    )
    parser.add_argument("--version", action="version", version=f"basetrainer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="show versions and devices, for a bug report")
    info.set_defaults(run=_info)
    check.add_parser(commands)
    convert.add_parser(commands)
    lr.add_parser(commands)
    plot.add_parser(commands)
    predict.add_parser(commands)
    test.add_parser(commands)
    return parser


def _info(args: argparse.Namespace) -> int:
    """Print what a bug report needs."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = f"{torch.accelerator.device_count()} x {accelerator.type}" if accelerator else "none"
    for name, value in (
        ("basetrainer", f"{__version__} in {_namesake.HERE}"),
        ("torch", torch.__version__),
        ("python", platform.python_version()),
        ("system", platform.platform()),
        ("cores", f"{os.cpu_count()} ({torch.get_num_threads()} torch threads)"),
        ("accelerators", devices),
    ):
        print(f"{name:<13} {value}")
    for sentence in _namesake.namesakes():
        print(f"warning: {sentence}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The arguments; by default those of the process.
    """
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
    except BaseTrainerError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
