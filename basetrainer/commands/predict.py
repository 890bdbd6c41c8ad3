"""``basetrainer predict``: what the best network of a run takes images for."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from basetrainer.errors import DataError

if TYPE_CHECKING:
    from basetrainer.inference.load_model import LoadedModel, Prediction

_MOST_PICTURES = 24


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "predict",
        help="tell what a trained image classifier takes images for",
        description="Predict the class of images with the best network of a run. For image "
        "classifiers made by get_models; for another network call load_model(run, model) in a "
        "program. Images that cannot be read are named and left out; the exit code is then 1.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files, or folders")
    parser.add_argument("--topk", type=int, default=1, help="how many classes each (1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--picture", metavar="FILE", help="draw the images with their classes")
    parser.add_argument("--device", help="such as cpu or cuda:1 (the first accelerator)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the predictions, and return 1 if an image could not be read.

    Raises:
        ConfigError: If the run has no best model, or an image is not there.
        MissingExtraError: If a picture is wanted and matplotlib is not installed.
    """
    from basetrainer.inference.load_model import load_model

    loaded = load_model(args.run_folder, device=args.device)
    num_broken = 0

    def on_broken(error: DataError) -> None:
        nonlocal num_broken
        num_broken += 1
        sys.stderr.write(f"error: {error}\n")

    found = list(loaded.predict(args.images, topk=max(1, args.topk), on_broken=on_broken))
    code = 1 if num_broken else 0
    if args.picture and found:
        _draw(args.picture, loaded, found[:_MOST_PICTURES])
    if args.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2, ensure_ascii=False))
        return code
    width = max((len(one.path) for one in found), default=0)
    for one in found:
        pairs = zip(one.classes, one.probabilities, strict=True)
        print(f"{one.path:<{width}}  " + "  ".join(f"{name} {share:.3f}" for name, share in pairs))
    return code


def _draw(path: str, loaded: LoadedModel, found: Sequence[Prediction]) -> None:
    from basetrainer.datasets.decode import read_tensor
    from basetrainer.plots.canvas import save
    from basetrainer.plots.samples import draw_samples

    images = [read_tensor(one.path).permute(1, 2, 0).numpy() / 255.0 for one in found]
    names = [loaded.class_name(index) for index in range(max(one.index for one in found) + 1)]
    classes = [one.index for one in found]
    save(draw_samples(images, classes, classes, names), path)
