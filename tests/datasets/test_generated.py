from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.datasets.generated import (
    KINDS,
    class_names,
    class_sizes,
    generate_images,
    write_image_folder,
)
from basetrainer.datasets.image_folder import ImageFolder
from basetrainer.errors import ConfigError


@given(st.integers(1, 30), st.integers(0, 400), st.floats(1, 1e4))
def test_class_sizes_sum_up_fall_and_leave_no_class_empty(num_classes, extra, imbalance):
    sizes = class_sizes(num_classes + extra, num_classes, imbalance)
    assert len(sizes) == num_classes
    assert sum(sizes) == num_classes + extra
    assert min(sizes) >= 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(sizes))


def test_the_imbalance_is_that_of_the_first_to_the_last_class():
    sizes = class_sizes(4000, 3, 100.0)
    assert sizes[0] / sizes[-1] == pytest.approx(100, rel=0.05)


def test_an_image_depends_on_seed_place_and_label_alone():
    both = generate_images([0, 1], size=16, seed=3)
    assert both.shape == (2, 16, 16, 3)
    assert np.array_equal(both[:1], generate_images([0], size=16, seed=3))
    assert not np.array_equal(both, generate_images([0, 1], size=16, seed=4))
    assert not np.array_equal(both[0], generate_images([1], size=16, seed=3)[0])


def test_every_class_looks_different():
    assert len(set(KINDS)) == len(KINDS) == 64
    plain = [generate_images([label], noise=0.0)[0] for label in range(64)]
    assert len({image.tobytes() for image in plain}) == 64


def test_a_folder_is_written_and_read_back(tmp_path):
    root = write_image_folder(tmp_path / "set", num_images=10, num_classes=3, imbalance=4.0, size=8)
    dataset = ImageFolder(root, class_names=class_names(3))
    assert dataset.index.class_counts().tolist() == class_sizes(10, 3, 4.0)
    place = [path.endswith("red_disc/00000.png") for path in dataset.paths].index(True)
    image, label = dataset[place]
    expected = generate_images([0], size=8)[0]
    assert image.permute(1, 2, 0).numpy().tolist() == expected.tolist()
    assert label == 0
    jpeg = write_image_folder(tmp_path / "jpeg", num_images=4, size=8, suffix=".jpg")
    assert len(ImageFolder(jpeg)) == 4


def test_impossible_sets_are_refused():
    with pytest.raises(ConfigError, match="there are 1 to 64 generated classes"):
        class_names(65)
    with pytest.raises(ConfigError, match="at least one image a class"):
        class_sizes(2, 3)
    with pytest.raises(ConfigError, match="imbalance of 1 or more"):
        class_sizes(9, 3, 0.5)
