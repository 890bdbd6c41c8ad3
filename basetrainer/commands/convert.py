"""``basetrainer convert``: annotated images from one format to another."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "convert",
        help="write annotated images in another format",
        description="Read boxes, outlines, key points or masks in one format, check every label, "
        "and write them in another. Formats: coco, voc, yolo, labelme, masks.",
    )
    parser.add_argument("source", metavar="FROM", help="a COCO file, a data.yaml, or a folder")
    parser.add_argument("target", metavar="TO", help="the folder to write, new or empty")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="the format to write")
    parser.add_argument(
        "--format", default="auto", metavar="FORMAT", help="the format of FROM (found out)"
    )
    parser.add_argument("--images", metavar="FOLDER", help="the images of a COCO file (looked for)")
    parser.add_argument(
        "--class_names", metavar="FILE", help="a file with a class a line (those of the data)"
    )
    parser.add_argument(
        "--on_fault",
        default="raise",
        metavar="raise|fix|skip",
        help="refuse faulty data, drop faulty objects, or leave their images out (raise)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what the new format cannot hold.

    Raises:
        ConfigError: If a path or a format is wrong.
        AnnotationError: If there are faults, and ``--on_fault`` is ``raise``.
    """
    from basetrainer._names import lookup
    from basetrainer.tasks.formats.open import open_samples
    from basetrainer.tasks.formats.write import IMAGE_FOLDERS, write_samples

    lookup("format", args.to, IMAGE_FOLDERS)  # before anything is read
    source = args.source
    if args.images is not None:
        source = {"images": args.images, "annotations": args.source}
    samples = open_samples(
        source, args.format, class_names=args.class_names, on_fault=args.on_fault
    )
    lost = write_samples(samples, Path(args.target), args.to)
    print(f"{args.target}: {len(samples):,} images, {len(samples.boxes):,} objects as {args.to}")
    for what in lost:
        print(f"  not in {args.to}: {what}")
    return 0
