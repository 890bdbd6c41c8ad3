from __future__ import annotations

import pickle

import pytest
import torch

from basetrainer.datasets.mixing import get_collate
from basetrainer.datasets.normalize import Normalize
from basetrainer.errors import ConfigError, UsageError


def samples(count: int = 4) -> list[tuple[torch.Tensor, int]]:
    return [(torch.full((3, 4, 4), 60 * place, dtype=torch.uint8), place) for place in range(count)]


def test_nothing_to_mix_is_none():
    assert get_collate(["train", "flip"], 4) is None
    assert get_collate(None, 4) is None


def test_mixup_mixes_images_and_labels_by_the_same_share():
    collate = get_collate(["train", {"mixup": {"alpha": 1.0}}], 4)
    assert collate is not None
    images, labels = collate(samples())
    assert images.dtype == torch.float32
    assert images.max() <= 1
    torch.testing.assert_close(labels.sum(1), torch.ones(4))
    grey = torch.tensor([0.0, 60, 120, 180]) / 255
    torch.testing.assert_close(images.mean((1, 2, 3)), labels @ grey)
    assert Normalize()(images).dtype == torch.float32


def test_cutmix_keeps_uint8_and_counts_pixels():
    collate = get_collate("cutmix", 4)
    assert collate is not None
    images, labels = collate(samples())
    assert images.dtype == torch.uint8
    for image, shares in zip(images, labels, strict=True):
        for place in range(4):
            share = (image[0] == 60 * place).float().mean()
            torch.testing.assert_close(share, shares[place])


def test_a_probability_leaves_batches_unmixed_but_alike_in_type():
    collate = get_collate([{"mixup": {"p": 0.0}}], 4)
    assert collate is not None
    images, labels = collate(samples())
    assert images.dtype == torch.float32
    assert torch.equal(labels, torch.eye(4))
    batch, (_, expected) = samples(), collate(samples())
    several = [(image, expected[place]) for place, (image, _) in enumerate(batch)]
    assert torch.equal(collate(several)[1], torch.eye(4))


def test_both_are_drawn_and_a_seed_repeats_the_draw():
    collate = pickle.loads(pickle.dumps(get_collate(["mixup", "cutmix"], 4)))
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        images, labels = collate(samples())
        torch.manual_seed(seed)
        again = collate(samples())
        assert torch.equal(images, again[0])
        assert torch.equal(labels, again[1])
        seen.add(bool((images[1] == images[1, 0, 0, 0]).all()))
    assert seen == {True, False}


def test_dict_batches_and_a_collate_of_ones_own():
    collate = get_collate("mixup", 4)
    assert collate is not None
    batch = collate([{"image": image, "label": label, "id": 7} for image, label in samples()])
    assert batch["label"].shape == (4, 4)
    assert batch["id"].tolist() == [7] * 4
    own = get_collate(
        "mixup", 4, collate=lambda items: (*torch.utils.data.default_collate(items), 9)
    )
    assert own is not None
    assert own(samples())[2] == 9


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="p=2"):
        get_collate([{"mixup": {"p": 2}}], 4)
    with pytest.raises(ConfigError, match="takes alpha and p"):
        get_collate([{"cutmix": {"strength": 2}}], 4)
    collate = get_collate("mixup", 4)
    assert collate is not None
    with pytest.raises(UsageError, match="need batches"):
        collate([torch.rand(3)])
    with pytest.raises(UsageError, match="need batches"):
        collate([{"picture": torch.rand(3)}])
