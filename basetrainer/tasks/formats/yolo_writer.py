"""Writing annotations as YOLO text labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from basetrainer.tasks.formats.source import StrPath
from basetrainer.tasks.rle import RLE
from basetrainer.tasks.sample import Sample, Samples


def write(samples: Samples, folder: StrPath, *, with_outlines: bool = True) -> list[str]:
    """Write ``labels/NAME.txt`` for each image, and a ``data.yaml``; images are not copied.

    Args:
        samples: What to write.
        folder: Where ``labels`` and ``data.yaml`` go.
        with_outlines: Whether an object with one polygon is written as polygon; else as its box.

    Returns:
        What the format cannot hold, a line each.
    """
    target = Path(folder)
    (target / "labels").mkdir(parents=True, exist_ok=True)
    lost = {
        "crowds, left out": 0,
        "outlines of several parts or run lengths, written as boxes": 0,
        "difficult marks": 0,
    }
    for sample in samples:
        lines = []
        for place in range(len(sample.boxes)):
            if sample.crowd[place]:
                lost["crowds, left out"] += 1
                continue
            outline = sample.outlines[place]
            lost["difficult marks"] += bool(sample.difficult[place])
            is_one = (
                isinstance(outline, tuple) and not isinstance(outline, RLE) and len(outline) == 1
            )
            if outline is not None and not is_one:
                lost["outlines of several parts or run lengths, written as boxes"] += 1
            polygon: Any = None
            if isinstance(outline, tuple) and is_one and with_outlines and sample.points is None:
                polygon = outline[0]
            lines.append(_line(sample, place, polygon))
        file = target / "labels" / f"{Path(sample.path).stem}.txt"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    settings: dict[str, Any] = {"names": dict(enumerate(samples.class_names))}
    if samples.point_names:
        settings["kpt_shape"] = [len(samples.point_names), 3]
        settings["kpt_names"] = {0: list(samples.point_names)}
    if (target / "images").is_dir():
        settings["train"] = "images"
    (target / "data.yaml").write_text(
        yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    return [f"{count} {what}" for what, count in lost.items() if count]


def _line(sample: Sample, place: int, polygon: Any) -> str:
    width, height = sample.size
    label = int(sample.labels[place])
    if polygon is not None:
        flat = (polygon / [width, height]).reshape(-1)
        return " ".join([str(label), *(f"{value:.9g}" for value in flat)])
    x1, y1, x2, y2 = sample.boxes[place] / [width, height, width, height]
    values = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    if sample.points is not None:
        for x, y, visible in sample.points[place]:
            values += [x / width, y / height, visible]
    return " ".join([str(label), *(f"{value:.9g}" for value in values)])
