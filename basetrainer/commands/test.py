"""``basetrainer test``: the figures of a run's best network, on its test data or on other data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "test",
        help="score the best image classifier of a run",
        description="Score the best network of a run on labelled images: accuracy, and precision, "
        "recall and F1 of each class. For image classifiers made by get_models; for another "
        "network call trainer.test() in its program.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--data", nargs="+", help="folders of class folders, or lists (the run's test_data)"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images at once (64)")
    parser.add_argument("--num_workers", type=int, default=0, help="loader processes (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--device", help="such as cpu or cuda:1 (the first accelerator)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the figures of each test set.

    Raises:
        ConfigError: If the run has no best model, or the data is not there.
        DataError: If an image cannot be read.
    """
    from basetrainer.inference.load_model import load_model
    from basetrainer.inference.score import score

    loaded = load_model(args.run_folder, device=args.device)
    sets, root = ({"": args.data}, None) if args.data else _test_data(Path(args.run_folder))
    found = {}
    for name, data in sets.items():
        result = score(loaded, data, args.batch_size, args.num_workers, root=root)
        found[name or "test"] = result.figures()
        if not args.json:
            print(f"{name or 'test'}: {loaded.sidecar.weights}\n{result}")
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


def _test_data(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return the test sets of a run by name, and where their relative paths start."""
    from basetrainer.checkpoint.workspace import SETTINGS_FILE
    from basetrainer.config.yaml_file import read_yaml
    from basetrainer.errors import ConfigError

    file = folder / SETTINGS_FILE
    settings = read_yaml(file).values if file.is_file() else {}
    data = settings.get("test_data")
    if not data:
        raise ConfigError(f"{folder} does not say what it was tested on. Name it with --data.")
    return (data if isinstance(data, dict) else {"": data}), settings.get("data_root")
