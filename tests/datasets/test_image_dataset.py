from __future__ import annotations

import logging
import pickle

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, default_collate
from torchvision import transforms as v1
from torchvision.transforms import v2

from basetrainer.data.seeding import Draws, draws_of
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.image_folder import ImageFolder
from basetrainer.datasets.transforms import get_transforms
from basetrainer.errors import ConfigError, DataError
from tests.datasets.images import write_folder
from tests.fixtures.programs import TIMEOUT


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data", {"cat": 3, "dog": 3})


def test_tensors_for_v2_and_for_others_pillow_for_v1(data):
    seen: list[object] = []
    assert ImageFolder(data, seen.append).as_pil is False
    ImageFolder(data, seen.append)[0]
    ImageFolder(data, seen.append, as_pil=True)[0]
    assert isinstance(seen[0], torch.Tensor)
    assert seen[0].dtype == torch.uint8
    assert isinstance(seen[1], Image.Image)
    old = ImageFolder(data, v1.Compose([v1.Resize(4), v1.ToTensor()]))
    new = ImageFolder(data, v2.Compose([v2.Resize(4)]))
    assert old.as_pil
    assert not new.as_pil
    assert old[0][0].shape == new[0][0].shape == (3, 4, 4)


def test_a_broken_image_raises_with_file_reason_and_mend(data):
    (data / "cat" / "1.png").write_bytes(b"junk")
    with pytest.raises(
        DataError, match=r"cat/1\.png: not an image .* sample 1, from .*/cat\. .*skip"
    ):
        ImageFolder(data)[1]


def test_a_broken_image_is_replaced_by_the_next_readable_one(data, caplog):
    dataset = ImageFolder(data, on_broken="skip")
    whole = [dataset[place] for place in range(6)]
    (data / "cat" / "1.png").write_bytes(b"junk")
    (data / "cat" / "2.png").unlink()
    (data / "dog" / "2.png").write_bytes(b"")
    state = torch.random.get_rng_state()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for place, stand_in in ((0, 0), (1, 3), (2, 3), (5, 0), (-1, 0)):
                image, label = dataset[place]
                assert torch.equal(image, whole[stand_in][0])
                assert label == whole[stand_in][1]
    assert torch.equal(state, torch.random.get_rng_state())
    assert dataset.num_broken == 3
    assert len(caplog.records) == 3
    assert "cat/1.png" in caplog.text
    assert "on_broken" not in caplog.text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
def test_what_loader_workers_skip_is_counted_here_and_said_once_an_epoch(data, caplog):
    dataset = ImageFolder(data, on_broken="skip")
    (data / "cat" / "1.png").write_bytes(b"junk")
    (data / "dog" / "2.png").unlink()
    for epoch in range(3):
        dataset.set_epoch(epoch)
        assert len(list(DataLoader(dataset, 2, num_workers=2, multiprocessing_context="fork"))) == 3
        assert dataset.num_broken == 2
    assert [record.getMessage().partition(" of /")[0] for record in caplog.records] == [
        "2 of 6 images"
    ]


def test_when_nothing_can_be_read_skipping_ends(data):
    for path in data.rglob("*.png"):
        path.write_bytes(b"junk")
    dataset = ImageFolder(data, on_broken="skip")
    with pytest.raises(DataError, match=r"None of the 6 images of .*data can be read"):
        dataset[0]


def test_a_wrong_policy_and_a_wrong_index_are_refused(data):
    with pytest.raises(ConfigError, match="on_broken='ignore'"):
        ImageFolder(data, on_broken="ignore")  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        ImageFolder(data)[6]


def test_datasets_pickle_with_their_transforms(data):
    dataset = ImageFolder(data, get_transforms("test", [6, 4]))
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[4][0], dataset[4][0])
    assert again.class_names == dataset.class_names


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
def test_workers_give_the_same_and_name_a_broken_file_under_fork_and_spawn(data):
    dataset = open_dataset(data, get_transforms("test", [6, 4]))
    expected = torch.stack([dataset[place][0] for place in range(6)])
    (data / "dog" / "2.png").write_bytes(b"junk")
    for method, num in (("fork", 2), ("spawn", 1)):  # a spawned worker costs four seconds
        loader = DataLoader(
            dataset, 2, num_workers=num, multiprocessing_context=method, timeout=TIMEOUT
        )
        batches = iter(loader)
        images = [next(batches)[0] for _ in range(2)]
        assert torch.equal(torch.cat(images), expected[:4])
        with pytest.raises(DataError, match=r"dog/2\.png: not an image") as caught:
            next(batches)
        assert "Traceback" not in str(caught.value)  # one message, as without workers
        # The end shuts the workers down; the collector would wait ten seconds for them.
        assert next(batches, None) is None


def test_a_dataset_says_whether_anything_is_drawn_so_that_it_is_seeded_only_then(tmp_path):
    folder = write_folder(tmp_path / "images", {"a": 2, "b": 2})
    resize, flip = (get_transforms(names, 8) for names in ("test", ["resize", "flip"]))
    data = ImageFolder(folder, resize)
    assert draws_of(data, default_collate) is Draws.NOTHING
    assert draws_of(Subset(data, [0]), default_collate) is Draws.NOTHING
    data.transform = flip
    assert draws_of(data, default_collate) is Draws.SAMPLES
    data.transform = lambda image: image  # nobody knows
    assert draws_of(data, default_collate) is Draws.SAMPLES

    class Noisy(ImageFolder):
        def read(self, index):
            return torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8)

    assert draws_of(Noisy(folder, resize), default_collate) is Draws.SAMPLES
