"""Curves, confusion matrices and test images become pictures, whatever the run was like."""

from __future__ import annotations

import math
import struct
import warnings
from typing import Any

import numpy as np
import pytest

from basetrainer._logs import Logs, SetLogs
from basetrainer.errors import ConfigError
from basetrainer.plots import canvas
from basetrainer.plots.confusion import draw_confusion
from basetrainer.plots.curves import draw_curves
from basetrainer.plots.history import History
from basetrainer.plots.samples import draw_samples

pytest.importorskip("matplotlib")


def run(name: str = "run", epochs: int = 5, **more: Any) -> History:
    rows: list[Logs] = [
        {
            "epoch": epoch,
            "lr": 0.1 / (epoch + 1),
            "train": {"loss": 2.0 / (epoch + 1), "Accuracy": 90.0 + epoch},
            "test": {"loss": 2.5 / (epoch + 1), "Accuracy": 80.0 + epoch % 4},
            **more,
        }
        for epoch in range(epochs)
    ]
    return History(name, rows, "Accuracy", "max")


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def size_of(data: bytes) -> tuple[int, int]:
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_a_run_has_a_panel_for_each_figure_and_marks_its_best_epoch():
    figure = draw_curves([run()])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["loss", "Accuracy", "learning rate"]
    assert {"train", "test", "best epoch 4 (Accuracy 83)"} <= set(texts(figure))
    size_of(canvas.png(figure))


def test_losses_that_span_decades_have_a_logarithmic_scale():
    losses = {"loss": {"box": 1.0, "cls": 1e-3}}
    history = History("run", [{"epoch": 0, "train": losses}, {"epoch": 1, "train": losses}])
    history.rows[1]["train"] = {"loss": {"box": 1e-3, "cls": 1e-3}}
    figure = draw_curves([history])
    assert [axes.get_yscale() for axes in figure.axes] == ["log"]


def test_several_runs_have_a_colour_and_a_star_each():
    figure = draw_curves([run("first", 3), run("second", 5)])
    accuracy = figure.axes[1]
    stars = [line for line in accuracy.get_lines() if line.get_marker() == "*"]
    assert [star.get_xydata().tolist() for star in stars] == [[[3, 82.0]], [[4, 83.0]]]
    assert len({line.get_color() for line in accuracy.get_lines()}) == 2
    assert "first: best Accuracy 82, epoch 3" in texts(figure)


def test_test_sets_have_colours_in_one_run_and_panels_among_several():
    sets = SetLogs({"clean": {"loss": 1.0}, "noisy": {"loss": 2.0}})
    one, other = run("one", test=sets), run("other", test=sets)
    assert {"test clean", "test noisy"} <= set(texts(draw_curves([one])))
    titles = [axes.get_title() for axes in draw_curves([one, other]).axes]
    assert titles == ["loss (clean)", "loss (noisy)", "Accuracy", "learning rate"]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("epochs", [1, 50])
def test_odd_figures_are_drawn_without_a_warning(value, epochs):
    history = run(epochs=epochs, test={"loss": value, "Accuracy": math.nan})
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        canvas.png(draw_curves([history]))
    assert not heard


@pytest.mark.parametrize("classes", [1, 2, 10, 33, 120])
def test_a_matrix_shows_what_fits(classes):
    counts = np.full((classes, classes), 1) + 98 * np.eye(classes, dtype=int)
    figure = draw_confusion(counts, [f"name{index}" for index in range(classes)], title="epoch 3")
    said = texts(figure)
    assert "epoch 3" in said
    assert "name0" in said
    share = f"{100 * 99 / (98 + classes):.1f}%"
    if classes == 10:
        assert f"99\n{share}" in said  # in the cell
    if classes == 33:
        assert {"99", share} <= set(said)  # at the end of the row
    assert max(size_of(canvas.png(figure))) < 3000


def test_the_worst_confusions_are_told_and_empty_classes_are_no_trouble():
    counts = np.array([[8, 2, 0], [0, 50, 4], [0, 0, 0]])
    said = texts(draw_confusion(counts, ["cat", "dog", "bird"]))
    assert "prediction\ncat taken for dog (2), dog taken for bird (4)" in said
    size_of(canvas.png(draw_confusion(np.zeros((3, 3), dtype=int), ["a", "b", "c"])))


def test_wrong_test_images_are_red_and_say_what_they_were_taken_for():
    images = [np.zeros((4, 5, 3)), np.ones((6, 4, 1)), np.ones((6, 4, 1))]
    figure = draw_samples(images, [0, 1, -1], [0, 0, 1], ["cat", "dog"], title="epoch 1")
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    assert [one.get_text() for one in titles] == ["cat", "dog\ntaken for cat", "?\ntaken for dog"]
    assert titles[0].get_color() != titles[1].get_color()
    size_of(canvas.png(figure))


def test_names_with_dollars_underscores_and_unknown_letters_are_drawn_as_they_stand():
    names = ["$a$", "_b", "\u732b", "\U0010fffd"]
    readable = canvas.readable(names)
    assert readable[:2] == [r"\$a\$", " _b"]
    assert readable[2] in ("2", "\u732b")  # the index where no font has the letter
    assert readable[3] == "3"
    canvas.png(draw_confusion(np.eye(4, dtype=int), names))  # a missing glyph would be a warning
    canvas.png(draw_curves([run("_run $1"), run("run $2")]))


def test_a_picture_is_saved_in_the_format_of_its_ending(tmp_path):
    path = canvas.save(draw_curves([run()]), tmp_path / "new" / "curves.svg")
    assert b"<svg" in path.read_bytes()
    with pytest.raises(ConfigError, match=r"no format 'txt'.*png"):
        canvas.save(draw_curves([run()]), tmp_path / "curves.txt")
    assert [one.name for one in tmp_path.rglob("*.*")] == ["curves.svg"]
