"""Writing annotations as COCO JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from basetrainer.tasks.formats.source import StrPath, write_json
from basetrainer.tasks.rle import RLE, fill_polygons
from basetrainer.tasks.sample import Sample, Samples


def write(samples: Samples, file: StrPath, *, root: StrPath | None = None) -> list[str]:
    """Write annotations as a COCO file; images are not copied.

    Args:
        samples: What to write.
        file: The JSON file.
        root: The folder that ``file_name`` starts from; None writes paths relative to the file.

    Returns:
        What the format cannot hold, a line each; crowds, key points and outlines it can.
    """
    target = Path(file)
    base = target.parent if root is None else Path(root)
    ids = samples.original_ids
    categories: list[dict[str, Any]] = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in zip(ids, samples.class_names, strict=True)
    ]
    if samples.point_names:
        for category in categories:
            category["keypoints"] = list(samples.point_names)
            category["skeleton"] = [[first + 1, last + 1] for first, last in samples.links]
    images, annotations = [], []
    numbers_used = [int(number) for sample in samples for number in sample.ids if number >= 0]
    unique = len(set(numbers_used)) == len(numbers_used)
    next_id = max(numbers_used, default=0) + 1
    for sample in samples:
        width, height = sample.size
        name = os.path.relpath(sample.path, base)
        images.append({"id": sample.image_id, "file_name": name, "width": width, "height": height})
        for place in range(len(sample.boxes)):
            number = int(sample.ids[place])
            if number < 0 or not unique:
                number, next_id = next_id, next_id + 1
            annotations.append(_annotation(sample, place, number, ids))
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(target, content)
    masks = sum(sample.mask_path is not None for sample in samples)
    return [f"{masks} masks of whole images"] if masks else []


def _annotation(sample: Sample, place: int, number: int, ids: tuple[int, ...]) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(side) for side in sample.boxes[place])
    outline = sample.outlines[place]
    entry: dict[str, Any] = {
        "id": number,
        "image_id": sample.image_id,
        "category_id": ids[int(sample.labels[place])],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": float(sample.area[place]),
        "iscrowd": int(sample.crowd[place]),
    }
    if sample.difficult[place]:
        entry["ignore"] = 1
    if isinstance(outline, RLE):
        entry["segmentation"] = outline.written()
    elif outline is not None and sample.crowd[place]:
        entry["segmentation"] = RLE.of(fill_polygons(outline, sample.size)).written()
    else:
        entry["segmentation"] = [polygon.reshape(-1).tolist() for polygon in outline or ()]
    if sample.points is not None:
        points = sample.points[place]
        entry["keypoints"] = [
            int(one) if column == 2 else float(one)
            for row in points
            for column, one in enumerate(row)
        ]
        entry["num_keypoints"] = int((points[:, 2] > 0).sum())
    return entry
