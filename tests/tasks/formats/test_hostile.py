"""Broken annotations: each fault is named with its file, line or id, and nothing else is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from basetrainer.errors import ConfigError, DataError
from basetrainer.tasks.formats.open import open_samples


def assert_close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, np.array(wanted, dtype=np.float64), atol=1e-9)


GOOD = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 12], "area": 120}


def image(path: Path, size=(40, 30), **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path, **more)
    return path


def coco(folder: Path, annotations=(GOOD,), images=None, categories=None, **image_keys) -> Path:
    image(folder / "images" / "a.png")
    entry = {"id": 1, "file_name": "a.png", "width": 40, "height": 30, **image_keys}
    content = {
        "images": [entry] if images is None else images,
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}]
        if categories is None
        else categories,
    }
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    return file


def yolo(folder: Path, text: str | bytes | None, names=("cat", "dog")) -> Path:
    image(folder / "images" / "a.png")
    if text is not None:
        label = folder / "labels" / "a.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "data.yaml").write_text(f"train: images\nnames: {json.dumps(list(names))}\n")
    return folder / "data.yaml"


def voc(folder: Path, objects: str, size=(40, 30), name="a.png") -> Path:
    image(folder / "JPEGImages" / "a.png")
    (folder / "Annotations").mkdir(exist_ok=True)
    (folder / "Annotations" / "a.xml").write_text(
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size>{objects}</annotation>"
    )
    return folder


def labelme(folder: Path, shapes, **keys) -> Path:
    image(folder / "a.png")
    content = {"shapes": shapes, "imagePath": "a.png", "imageWidth": 40, "imageHeight": 30, **keys}
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def box(xmin, ymin, xmax, ymax, name="cat", more="") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), (xmin, ymin, xmax, ymax), strict=True)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name>{more}<bndbox>{inner}</bndbox></object>"


def rectangle(points, label="cat") -> dict[str, object]:
    return {"label": label, "points": points, "shape_type": "rectangle"}


FAULTS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "coco bbox reversed": (
        lambda d: coco(d, [{**GOOD, "bbox": [12, 3, -10, 12]}]),
        ["annotation 7", "ends before it begins"],
    ),
    "coco bbox without width": (
        lambda d: coco(d, [{**GOOD, "bbox": [2, 3, 0, 12]}]),
        ["annotation 7", "no width"],
    ),
    "coco bbox outside": (
        lambda d: coco(d, [{**GOOD, "bbox": [50, 3, 5, 5]}]),
        ["annotation 7", "outside the image of 40x30"],
    ),
    "coco bbox with NaN": (
        lambda d: coco(d, [{**GOOD, "bbox": [float("nan"), 3, 5, 5]}]),
        ["annotation 7", "nan"],
    ),
    "coco bbox of text": (
        lambda d: coco(d, [{**GOOD, "bbox": ["a", 3, 5, 5]}]),
        ["annotation 7", "bbox"],
    ),
    "coco unknown category": (
        lambda d: coco(d, [{**GOOD, "category_id": 2}]),
        ["annotation 7", "category 2", "1 cat"],
    ),
    "coco unknown image": (
        lambda d: coco(d, [GOOD, {**GOOD, "id": 8, "image_id": 99}]),
        ["annotation 8", "99"],
    ),
    "coco annotation id twice": (lambda d: coco(d, [GOOD, GOOD]), ["annotation 7", "this id"]),
    "coco image id twice": (
        lambda d: coco(
            d,
            images=[
                {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
                {"id": 1, "file_name": "b.png", "width": 40, "height": 30},
            ],
        ),
        ["image id 1", "b.png"],
    ),
    "coco category id twice": (
        lambda d: coco(d, categories=[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]),
        ["'cat' and 'dog'"],
    ),
    "coco other size": (lambda d: coco(d, width=400), ["400x30", "40x30"]),
    "coco image missing": (lambda d: coco(d, file_name="c.png"), ["c.png", "no such image"]),
    "coco polygon of two points": (
        lambda d: coco(d, [{**GOOD, "segmentation": [[1, 2, 3, 4]]}]),
        ["annotation 7", "2 points"],
    ),
    "coco run lengths of another size": (
        lambda d: coco(d, [{**GOOD, "segmentation": {"size": [10, 10], "counts": [0, 100]}}]),
        ["annotation 7", "10x10"],
    ),
    "coco run lengths that do not fill": (
        lambda d: coco(d, [{**GOOD, "segmentation": {"size": [30, 40], "counts": [0, 7]}}]),
        ["annotation 7", "cover 7 pixels"],
    ),
    "coco run lengths cut": (
        lambda d: coco(d, [{**GOOD, "segmentation": {"size": [30, 40], "counts": "aP"}}]),
        ["annotation 7", "middle of a number"],
    ),
    "yolo in pixels": (lambda d: yolo(d, "0 20 15 10 10\n"), ["a.txt, line 1", "look like pixels"]),
    "yolo class out of range": (
        lambda d: yolo(d, "0 .5 .5 .2 .2\n2 .5 .5 .2 .2\n"),
        ["a.txt, line 2", "class 2", "cat, dog"],
    ),
    "yolo word": (lambda d: yolo(d, "cat .5 .5 .2 .2\n"), ["a.txt, line 1", "'cat' is no number"]),
    "yolo four values": (lambda d: yolo(d, "0 .5 .5 .2\n"), ["a.txt, line 1", "4 values"]),
    "yolo class with decimals": (lambda d: yolo(d, "0.5 .5 .5 .2 .2\n"), ["a.txt, line 1", "0.5"]),
    "yolo no width": (lambda d: yolo(d, "0 .5 .5 0 .2\n"), ["a.txt, line 1", "no width"]),
    "yolo negative width": (
        lambda d: yolo(d, "0 .5 .5 -.2 .2\n"),
        ["a.txt, line 1", "ends before"],
    ),
    "yolo NaN": (lambda d: yolo(d, "0 nan .5 .2 .2\n"), ["a.txt, line 1", "nan"]),
    "yolo outside": (lambda d: yolo(d, "0 1.5 .5 .2 .2\n"), ["a.txt, line 1", "outside"]),
    "yolo not UTF-8": (lambda d: yolo(d, b"0 .5 .5 .2 .2\n\xff\xfa\n"), ["a.txt, line 2", "UTF-8"]),
    "voc reversed": (lambda d: voc(d, box(20, 3, 5, 9)), ["a.xml, object 1", "ends before"]),
    "voc word": (lambda d: voc(d, box("x", 3, 5, 9)), ["a.xml, object 1", "'x'"]),
    "voc no name": (lambda d: voc(d, box(1, 3, 5, 9, "")), ["a.xml, object 1", "no <name>"]),
    "voc outside": (lambda d: voc(d, box(51, 3, 60, 9)), ["a.xml, object 1", "outside"]),
    "voc other size": (lambda d: voc(d, box(1, 3, 5, 9), (30, 40)), ["30x40", "40x30"]),
    "labelme two points": (
        lambda d: labelme(d, [{"label": "cat", "points": [[1, 2], [3, 4]]}]),
        ["a.json, shape 0", "2 points"],
    ),
    "labelme no label": (
        lambda d: labelme(d, [rectangle([[1, 2], [8, 9]], "")]),
        ["a.json, shape 0", "label is empty"],
    ),
    "labelme words for points": (
        lambda d: labelme(d, [rectangle([["a", 2], [8, 9]])]),
        ["a.json, shape 0", "points"],
    ),
    "labelme line": (
        lambda d: labelme(d, [{**rectangle([[1, 2], [8, 9]]), "shape_type": "line"}]),
        ["a.json, shape 0", "line"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_place_and_costs_no_more_than_its_image(tmp_path, name):
    write, wanted = FAULTS[name]
    with pytest.raises(DataError) as told:
        open_samples(write(tmp_path))
    for words in wanted:
        assert words in str(told.value)
    assert "Traceback" not in str(told.value)

    if "missing" in name or "UTF-8" in name:  # nothing would be left
        return
    kept = open_samples(write(tmp_path), on_fault="fix")
    assert len(kept) == 1
    assert kept.faults.found
    if "twice" not in name and "unknown image" not in name and "other size" not in name:
        with pytest.raises(DataError, match="no annotated image"):
            open_samples(write(tmp_path), on_fault="skip")


@pytest.mark.parametrize("content", [b"", b'{"images": [{"id": 1', b"\x81{}", b"[1]", b"x", b"{}"])
def test_a_broken_json_file_is_named(tmp_path, content):
    file = coco(tmp_path)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"instances\.json"):
        open_samples(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<annotation><object>",
        b"\x81",
        b"<html></html>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><annotation/>',
    ],
)
def test_a_broken_xml_file_is_named_and_the_other_images_stay(tmp_path, content):
    folder = voc(tmp_path, box(2, 3, 9, 9))
    shutil.copy(folder / "JPEGImages" / "a.png", folder / "JPEGImages" / "b.png")
    (folder / "Annotations" / "b.xml").write_bytes(content)
    with pytest.raises(DataError, match=r"b\.xml"):
        open_samples(folder)
    assert [Path(path).name for path in open_samples(folder, on_fault="fix").paths] == ["a.png"]


def test_all_faults_are_told_at_once(tmp_path):
    bad = [{**GOOD, "id": place, "bbox": [2, 3, 0, 0]} for place in range(30)]
    with pytest.raises(DataError) as told:
        open_samples(coco(tmp_path, [*bad, {**GOOD, "id": 40, "category_id": 9}]))
    assert "31 faults" in str(told.value)
    assert "annotation 40" in str(told.value)
    assert "and 20 more" in str(told.value)


@pytest.mark.parametrize(
    "write",
    [
        lambda d: yolo(d, ""),
        lambda d: yolo(d, None),
        lambda d: coco(d, []),
        lambda d: voc(d, ""),
        lambda d: labelme(d, []),
    ],
    ids=["yolo empty", "yolo without file", "coco", "voc", "labelme"],
)
def test_an_image_without_objects_stays_and_is_no_fault(tmp_path, write):
    samples = open_samples(write(tmp_path), class_names=["cat", "dog"])
    assert len(samples) == 1
    assert len(samples[0].boxes) == 0
    assert not samples.faults.found


def test_what_labelling_tools_write_is_read(tmp_path):
    text = "\ufeff# made by a tool\r\n0\t.5 .5 .25 .5  \r\n\r\n1 .5 .5 .2 .2 # the dog"
    samples = open_samples(yolo(tmp_path, text))
    assert_close(samples[0].boxes, [[15, 7.5, 25, 22.5], [16, 12, 24, 18]])
    assert samples[0].labels.tolist() == [0, 1]


def test_rounding_at_the_border_is_no_fault_and_a_cut_box_is_counted(tmp_path):
    samples = open_samples(yolo(tmp_path, "0 .5 .5 1.0000002 1\n1 .0 .5 .5 .5\n"))
    assert_close(samples[0].boxes, [[0, 0, 40, 30], [0, 7.5, 10, 22.5]])
    assert sum(samples.faults.notes.values()) == 1


def test_a_doubled_box_is_kept_once(tmp_path):
    samples = open_samples(coco(tmp_path, [GOOD, {**GOOD, "id": 8}]))
    assert len(samples[0].boxes) == 1
    assert sum(samples.faults.notes.values()) == 1


def test_category_ids_with_holes_become_classes_in_their_order(tmp_path):
    file = coco(tmp_path, [{**GOOD, "category_id": 90}, {**GOOD, "id": 8, "bbox": [1, 1, 5, 5]}],
                categories=[{"id": 90, "name": "dog"}, {"id": 1, "name": "cat"}])  # fmt: skip
    samples = open_samples(file)
    assert samples.class_names == ("cat", "dog")
    assert samples.original_ids == (1, 90)
    assert samples[0].labels.tolist() == [1, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_are_those_of_the_turned_image(tmp_path, orientation):
    folder = yolo(tmp_path, "0 .5 .5 .5 .5\n").parent
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "images" / "a.png").unlink()
    image(folder / "images" / "a.jpg", exif=exif)
    size = open_samples(folder)[0].size
    assert size == ((40, 30) if orientation < 5 else (30, 40))


def test_the_size_before_the_exif_orientation_is_named(tmp_path):
    file = coco(tmp_path, file_name="a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    image(tmp_path / "images" / "a.jpg", exif=exif)
    with pytest.raises(DataError, match="before its EXIF orientation"):
        open_samples(file)


def test_odd_names_are_found(tmp_path):
    folder = tmp_path / "v"
    image(folder / "JPEGImages" / "画 像[1].PNG")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "画 像[1].xml").write_text(
        "<annotation><filename>C:\\pictures\\画 像[1].PNG</filename>"
        f"{box(2, 3, 9, 9)}</annotation>",
        encoding="utf-8",
    )
    samples = open_samples(folder)
    assert samples[0].path.endswith("画 像[1].PNG")
    assert sum(samples.faults.notes.values()) == 1  # the separators of Windows


def test_difficult_and_crowd_objects_are_marked(tmp_path):
    samples = open_samples(voc(tmp_path, box(2, 3, 9, 9, more="<difficult>1</difficult>")))
    assert samples[0].difficult.tolist() == [True]
    assert not samples[0].trained.any()
    runs = {"size": [30, 40], "counts": [0, 1200]}
    crowd = {**GOOD, "iscrowd": 1, "segmentation": runs}
    samples = open_samples(coco(tmp_path / "c", [crowd]))
    assert samples[0].crowd.tolist() == [True]


def test_unknown_names_are_told_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'cat'"):
        open_samples(voc(tmp_path, box(2, 3, 9, 9, "catt")), class_names=["cat", "dog"])


def test_what_is_no_data_is_refused_with_what_could_be(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        open_samples(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="none of the formats"):
        open_samples(tmp_path / "empty")
    with pytest.raises(ConfigError, match="Did you mean 'coco'"):
        open_samples(tmp_path, "cocoo")
    with pytest.raises(ConfigError, match="Did you mean 'annotations'"):
        open_samples({"annotation": "x.json"})
