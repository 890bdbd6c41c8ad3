"""What one format holds comes back from the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from basetrainer.tasks.formats import coco_writer, labelme, voc, yolo_writer
from basetrainer.tasks.formats.open import format_of, open_samples
from basetrainer.tasks.generated_figures import JOINTS, LINKS, write_figures
from basetrainer.tasks.generated_shapes import write_shapes
from basetrainer.tasks.rle import RLE
from basetrainer.tasks.sample import Sample, Samples


def by_name(samples: Samples) -> dict[str, Sample]:
    return {Path(one.path).stem: one for one in samples}


def test_boxes_survive_coco_to_voc_to_yolo_to_labelme_to_coco(tmp_path):
    first = open_samples(write_shapes(tmp_path / "coco", format="coco", num_images=24))
    images = tmp_path / "coco" / "images"

    shutil.copytree(images, tmp_path / "voc" / "JPEGImages")
    assert voc.write(first, tmp_path / "voc") == [f"{len(first.boxes)} outlines"]
    second = open_samples(tmp_path / "voc", class_names=first.class_names)

    shutil.copytree(images, tmp_path / "yolo" / "images")
    assert yolo_writer.write(second, tmp_path / "yolo") == []
    third = open_samples(tmp_path / "yolo" / "data.yaml")

    shutil.copytree(images, tmp_path / "labelme")
    assert labelme.write(third, tmp_path / "labelme") == []
    fourth = open_samples(tmp_path / "labelme", class_names=first.class_names)

    coco_writer.write(fourth, tmp_path / "labelme" / "out.json")
    last = open_samples(tmp_path / "labelme" / "out.json")

    assert last.class_names == first.class_names
    assert (first.counts == 0).sum() == 1
    found = by_name(last)
    for one in first:
        other = found[Path(one.path).stem]
        assert other.size == one.size
        assert other.labels.tolist() == one.labels.tolist()
        assert np.abs(other.boxes - one.boxes).max(initial=0) < 1e-4


@pytest.mark.parametrize("format", ["coco", "yolo", "labelme"])
def test_key_points_survive(tmp_path, format):
    samples = open_samples(write_figures(tmp_path, format=format, num_images=5))
    wanted = open_samples(write_figures(tmp_path / "coco", format="coco", num_images=5))
    assert sorted(samples.point_names) == sorted(JOINTS)
    order = [samples.point_names.index(name) for name in JOINTS]
    assert wanted.links == LINKS
    for one, other in zip(samples, wanted, strict=True):
        assert one.points is not None
        assert other.points is not None
        assert np.abs(one.points[:, order] - other.points).max() < 1e-4


def test_outlines_and_crowds_survive_coco(tmp_path):
    first = open_samples(write_shapes(tmp_path, format="coco", num_images=6))
    coco_writer.write(first, tmp_path / "again.json")
    for one, other in zip(first, open_samples(tmp_path / "again.json"), strict=True):
        for outline, same in zip(one.outlines, other.outlines, strict=True):
            assert isinstance(outline, RLE)
            assert isinstance(same, RLE)
            assert np.array_equal(outline.mask(), same.mask())
        assert one.area.tolist() == other.area.tolist()


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "labelme", "masks"])
def test_a_generated_set_is_known_by_its_format(tmp_path, format):
    path = write_shapes(tmp_path / format, format=format, num_images=4)
    assert format_of(path) == format
    assert len(open_samples(path)) == 4


def test_a_generated_image_is_a_function_of_seed_and_place(tmp_path):
    write_shapes(tmp_path / "a", num_images=3, seed=1)
    write_shapes(tmp_path / "b", num_images=5, seed=1)
    for name in ("00000", "00002"):
        for kind in ("images/{}.png", "labels/{}.txt"):
            one, other = (tmp_path / run / kind.format(name) for run in "ab")
            assert one.read_bytes() == other.read_bytes()
