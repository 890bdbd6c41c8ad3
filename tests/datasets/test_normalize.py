from __future__ import annotations

import pickle
from typing import NamedTuple

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from basetrainer.datasets.normalize import Normalize
from basetrainer.errors import ConfigError, UsageError

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def reference(image: torch.Tensor) -> torch.Tensor:
    scaled: torch.Tensor = v2.Normalize(MEAN, STD)(v2.ToDtype(torch.float32, scale=True)(image))
    return scaled


def test_one_image_and_a_batch_give_what_torchvision_gives():
    batch = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8)
    before = batch.clone()
    normalize = Normalize(MEAN, STD)
    torch.testing.assert_close(normalize(batch), reference(batch), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(normalize(batch[0]), reference(batch[0]), atol=1e-6, rtol=1e-5)
    assert torch.equal(batch, before)


def test_floats_are_taken_as_scaled_and_keep_their_type():
    image = torch.rand(3, 4, 4)
    before = image.clone()
    torch.testing.assert_close(Normalize(MEAN, STD)(image), v2.Normalize(MEAN, STD)(image))
    assert torch.equal(image, before)
    assert Normalize()(image.bfloat16()).dtype == torch.bfloat16


def test_in_a_structure_only_images_change():
    class Pair(NamedTuple):
        image: torch.Tensor
        more: dict[str, object]

    image = tv_tensors.Image(torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.ones(1, 4, 4, dtype=torch.uint8))
    other = torch.ones(3, 4, 4)
    sample = Pair(image, {"mask": mask, "other": other, "list": [1, None]})
    result = Normalize(MEAN, STD)(sample)
    assert isinstance(result, Pair)
    assert isinstance(result.image, tv_tensors.Image)
    assert result.image.dtype == torch.float32
    assert result.more["mask"] is mask
    assert result.more["other"] is other
    assert result.more["list"] == [1, None]


def test_without_a_typed_image_the_first_tensor_of_three_dimensions_is_it():
    label, image, second = torch.tensor(3), torch.rand(3, 4, 4), torch.rand(3, 4, 4)
    got = Normalize(MEAN, STD)((label, image, second))
    assert got[0] is label
    assert not torch.equal(got[1], image)
    assert got[2] is second
    assert Normalize()({"label": label}) == {"label": label}


def test_one_figure_may_stand_for_all_channels():
    image = torch.rand(3, 2, 2)
    assert Normalize(0.5, 0.25)(image).equal((image - 0.5) / 0.25)
    assert Normalize(0.5, STD)(image).equal(Normalize([0.5] * 3, STD)(image))


def test_it_has_no_state_and_pickles():
    normalize = Normalize(MEAN, STD)
    assert normalize.state_dict() == {}
    again = pickle.loads(pickle.dumps(normalize))
    assert repr(again) == repr(normalize) == f"Normalize(mean={MEAN}, std={STD})"


def test_figures_on_another_scale_and_other_types_are_refused():
    with pytest.raises(ConfigError, match="scale 0 to 255, divide them"):
        Normalize([123.7, 116.3, 103.5], [58.4, 57.1, 57.4])
    with pytest.raises(ConfigError, match="std above 0"):
        Normalize(MEAN, [0.0, 0.1, 0.1])
    with pytest.raises(ConfigError, match="one figure per channel in both"):
        Normalize(MEAN, [0.5])
    with pytest.raises(UsageError, match="int64"):
        Normalize()(torch.ones(3, 2, 2, dtype=torch.int64))
