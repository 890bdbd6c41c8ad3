"""``basetrainer convert``, as a person calls it."""

from __future__ import annotations

import json

import pytest

from basetrainer.__main__ import main
from basetrainer.tasks.formats.open import open_samples
from basetrainer.tasks.generated_figures import write_figures
from basetrainer.tasks.generated_shapes import write_shapes


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "labelme", "masks"])
def test_what_is_written_is_read_again_with_its_images(tmp_path, capsys, format):
    source = write_shapes(tmp_path / "source", format="coco", num_images=6)
    assert main(["convert", str(source), str(tmp_path / "out"), "--to", format]) == 0
    assert f"6 images, {len(open_samples(source).boxes)} objects as {format}" in (
        capsys.readouterr().out
    )
    target = tmp_path / "out" / ("annotations.json" if format == "coco" else "")
    samples = open_samples(target)
    assert len(samples) == 6
    assert all((tmp_path / "out") in path.parents for path in map(type(tmp_path), samples.paths))


def test_what_the_format_cannot_hold_is_said(tmp_path, capsys):
    source = write_figures(tmp_path / "source", num_images=2)
    assert main(["convert", str(source), str(tmp_path / "out"), "--to", "voc"]) == 0
    assert "not in voc: key points of 2 objects" in capsys.readouterr().out


def test_images_of_one_name_in_two_folders_stay_apart(tmp_path):
    for name in ("a", "b"):
        write_shapes(
            tmp_path / "in" / "images" / name, format="labelme", num_images=1, seed=ord(name)
        )
    for name in ("a", "b"):
        folder = tmp_path / "in" / "labels" / name
        folder.mkdir(parents=True)
        (folder / "00000.txt").write_text(f"{'ab'.index(name)} .5 .5 .5 .5\n")
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "yolo"]) == 0
    samples = open_samples(tmp_path / "out")
    assert [one.labels.tolist() for one in samples] == [[0], [1]]


def test_a_wrong_call_ends_with_code_2_and_writes_nothing(tmp_path, capsys):
    source = write_shapes(tmp_path / "source", num_images=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for target, format, message in (
        ("out", "vocc", "Did you mean 'voc'"),
        ("full", "voc", "something in it"),
    ):
        assert main(["convert", str(source), str(tmp_path / target), "--to", format]) == 2
        assert message in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "no"), str(tmp_path / "out"), "--to", "voc"]) == 2
    assert not (tmp_path / "out").exists()


def test_faults_end_it_with_a_list_and_may_be_fixed(tmp_path, capsys):
    source = write_shapes(tmp_path / "source", format="coco", num_images=3)
    content = json.loads(source.read_text())
    content["annotations"][0]["bbox"][2] = 0
    source.write_text(json.dumps(content))
    call = ["convert", str(source), str(tmp_path / "out"), "--to", "yolo"]
    assert main(call) == 2
    assert "no width" in capsys.readouterr().err
    assert main([*call, "--on_fault", "fix"]) == 0
