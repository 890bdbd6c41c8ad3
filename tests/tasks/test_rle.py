"""Run lengths and polygons against the masks that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from basetrainer.tasks.rle import RLE, compress, decompress, fill_polygons, polygon_area

masks = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(masks)
@settings(max_examples=60, deadline=None)
def test_a_mask_comes_back_through_run_lengths_written_or_not(mask):
    runs = RLE.of(mask)
    assert np.array_equal(runs.mask(), mask)
    assert np.array_equal(RLE.read(runs.written()).mask(), mask)
    assert np.array_equal(
        RLE.read({"size": mask.shape, "counts": runs.counts.tolist()}).mask(), mask
    )
    assert runs.area == mask.sum()


@given(st.lists(st.integers(0, 2**40), max_size=20))
@settings(max_examples=60, deadline=None)
def test_compressed_counts_come_back(counts):
    assert decompress(compress(counts)).tolist() == counts


def test_the_string_is_that_of_the_coco_tools():
    # What pycocotools.mask.encode writes of a 3x4 mask whose second column is set.
    mask = np.zeros((3, 4), dtype=bool)
    mask[:, 1] = True
    assert compress(RLE.of(mask).counts) == "336"
    assert decompress("336").tolist() == [3, 3, 6]
    assert decompress(compress([5, 100, 7, 3, 12000])).tolist() == [5, 100, 7, 3, 12000]


def test_a_polygon_covers_the_pixels_whose_centres_it_holds():
    square = np.array([[1, 1], [4, 1], [4, 3], [1, 3]], dtype=float)
    mask = fill_polygons([square], (6, 5))
    wanted = np.zeros((5, 6), dtype=bool)
    wanted[1:3, 1:4] = True
    assert np.array_equal(mask, wanted)
    assert polygon_area([square]) == 6
    assert np.array_equal(fill_polygons([square - 10], (6, 5)), np.zeros((5, 6), dtype=bool))
    assert fill_polygons([square * 100 - 250], (6, 5)).all()


def test_a_polygon_that_crosses_itself_follows_the_even_odd_rule_and_parts_are_united():
    outer = np.array([[0, 0], [6, 0], [6, 6], [0, 6]], dtype=float)
    inner = np.array([[2, 2], [4, 2], [4, 4], [2, 4]], dtype=float)
    there_and_back = np.concatenate([outer, outer[:1], inner, inner[:1]])
    assert fill_polygons([there_and_back], (6, 6)).sum() == 32
    assert fill_polygons([outer, inner], (6, 6)).sum() == 36


@pytest.mark.parametrize(
    "written", [{}, {"size": [2, 2]}, {"size": [2, 2], "counts": [1.5, "a"]}, 3]
)
def test_what_is_no_mask_is_refused(written):
    with pytest.raises(ValueError, match=r"run-length|counts|cover"):
        RLE.read(written)
