"""cache: disk gives the samples that there are without it, and is never stale nor half."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1

from basetrainer.data import disk_cache, pixel_file
from basetrainer.data.disk_cache import cache_images
from basetrainer.data.loader import build_dataloader
from basetrainer.data.pixel_file import PixelFile
from basetrainer.datasets import decode
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.image_folder import ImageFolder
from basetrainer.datasets.transforms import get_transforms
from basetrainer.errors import ConfigError, DataError, LoaderError, StorageError
from basetrainer.utils import file_utils
from tests.fixtures.programs import TIMEOUT


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs of several sizes in two classes."""
    draw = np.random.default_rng(0)
    for number in range(12):
        height, width = draw.integers(20, 60, 2).tolist()
        pixels = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "images"


def samples(data: ImageFolder, seed: int = 0) -> list[Any]:
    torch.manual_seed(seed)
    return [data[number][0] for number in range(len(data))]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left, right)


def shorter_side(image: Any) -> Any:
    return min(image.shape[1:])


EXACT = [
    ["resize", "flip"],
    ["resize", {"affine": {"degrees": 20}}, "color_jitter"],
    ["resize", "rotation", "erasing"],
    [{"resize": {"size": [24]}}, {"center_crop": {"size": [20, 20]}}, "rand_augment"],
    [{"resize": {"interpolation": "nearest"}}],
    None,
]


@pytest.mark.parametrize("names", EXACT, ids=str)
def test_samples_are_bit_for_bit_those_without_a_cache(folder, tmp_path, names):
    transform = get_transforms(names, [18, 16], train=False)
    plain = ImageFolder(folder, transform)
    for _ in range(2):  # when it is built, and when it is there
        cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
        assert_equal(samples(cached), samples(plain))
    assert [cached[i][1] for i in range(12)] == [plain[i][1] for i in range(12)]


def test_a_resized_crop_gets_images_shrunk_to_twice_its_size_unless_told_otherwise(
    folder, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    transform = get_transforms(["random_resized_crop", "flip"], [12, 10])
    plain = ImageFolder(folder, transform)

    def shorter_sides(size: int | None) -> list[Any]:
        cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "c", size=size)
        found, expected = samples(cached), samples(plain)
        assert [one.shape for one in found] == [one.shape for one in expected]
        if size == 0:
            assert_equal(found, expected)
        return [shorter_side(cached.read(number)) for number in range(len(cached))]

    whole = shorter_sides(0)
    assert "crops are cut out" not in caplog.text
    assert shorter_sides(None) == [min(side, 24) for side in whole]
    assert "shorter side 24 at most; crops are cut out of these" in caplog.text
    assert shorter_sides(20) == [min(side, 20) for side in whole]


def test_a_crop_that_is_not_resized_gets_whole_images(folder, tmp_path):
    transform = get_transforms(["random_crop", "flip"], [12, 10])
    cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "c")
    assert_equal(samples(cached), samples(ImageFolder(folder, transform)))


@pytest.mark.parametrize("as_pil", [None, True])
def test_transforms_that_want_pillow_images_get_them(folder, tmp_path, as_pil):
    for transform in (v1.Compose([v1.Resize(9), v1.ToTensor()]), get_transforms("resize", 9)):
        plain = ImageFolder(folder, transform, as_pil=as_pil)
        cached = cache_images(ImageFolder(folder, transform, as_pil=as_pil), folder=tmp_path / "c")
        assert_equal(samples(cached)[:1], samples(plain)[:1])


def test_it_is_built_once_and_used_by_the_next_run(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = ImageFolder(folder, get_transforms("resize", [8, 8]))
    cache_images(data, folder=tmp_path / "cache")
    assert "built in" in caplog.text
    (place,) = (tmp_path / "cache").iterdir()
    assert [one.name for one in place.iterdir()] == ["images"]
    before = (place / "images").stat()
    caplog.clear()
    cache_images(ImageFolder(folder, data.transform), folder=tmp_path / "cache")
    assert "built in" not in caplog.text
    assert "12 images, 2.3 kB (Resize(" in caplog.text
    assert (place / "images").stat().st_mtime_ns == before.st_mtime_ns
    assert len([one for one in folder.rglob("*") if one.is_file()]) == 12  # nothing among the data


def test_another_size_is_another_file(folder, tmp_path):
    for size in (8, 12):
        cache_images(ImageFolder(folder, get_transforms("resize", size)), folder=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_one_list_below_two_roots_is_two_files(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "list.txt").write_text("a.png 0\nb.png 1\n")
    for root, color in (("small", 10), ("large", 200)):
        for name in ("a.png", "b.png"):
            (tmp_path / root).mkdir(exist_ok=True)
            Image.new("RGB", (9, 9), (color, 0, 0)).save(tmp_path / root / name)

    def opened(root: str) -> Any:
        data = open_dataset(tmp_path / "list.txt", root=tmp_path / root)
        return cache_images(data, folder=tmp_path / "cache")

    small, large = opened("small"), opened("large")
    late = pickle.loads(pickle.dumps(small))  # a worker that starts later
    assert [int(one[0][0].max()) for one in (late, large)] == [10, 200]
    caplog.clear()
    opened("small")
    assert "built in" not in caplog.text


def rewritten(path: Path) -> None:
    Image.new("RGB", (30, 30), (1, 2, 3)).save(path)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [rewritten, touched, removed])
def test_a_changed_file_is_noticed_at_the_next_opening(folder, tmp_path, change, caplog):
    caplog.set_level(logging.INFO)
    transform = get_transforms("resize", [8, 8])
    cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    change(folder / "a" / "2.png")
    caplog.clear()
    plain = ImageFolder(folder, transform)
    cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    assert_equal(samples(cached), samples(plain))
    why = "the list of images is another" if change is removed else "1 of 12 images have changed"
    assert why in caplog.text
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"nothing of ours at all, but long enough"])
def test_what_is_not_a_whole_file_is_not_used(folder, tmp_path, damage):
    transform = get_transforms("resize", [8, 8])
    for _ in range(2):
        cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
        (place,) = (tmp_path / "cache").iterdir()
        (place / "images").write_bytes(damage)
    cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    assert_equal(samples(cached), samples(ImageFolder(folder, transform)))


def test_a_build_that_was_interrupted_leaves_no_file_and_the_next_one_clears_up(
    folder, tmp_path, monkeypatch
):
    transform = get_transforms("resize", [8, 8])
    with monkeypatch.context() as patched:

        def interrupted(path):
            raise KeyboardInterrupt

        patched.setattr(disk_cache, "read_tensor", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    data = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    (place,) = (tmp_path / "cache").iterdir()
    (place / "images").unlink()
    (place / ".basetrainer-1-abcd.tmp").write_bytes(b"half")  # of a builder that was killed
    data = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    assert [one.name for one in place.iterdir()] == ["images"]
    assert_equal(samples(data), samples(ImageFolder(folder, transform)))


def test_a_full_disk_is_one_message_that_says_how_to_mend_it_and_leaves_nothing(
    folder, tmp_path, monkeypatch
):
    data = ImageFolder(folder, get_transforms("resize", [8, 8]))
    monkeypatch.setattr(file_utils, "free_bytes", lambda folder: 100)
    with pytest.raises(StorageError, match=r"needs 2,304 bytes.*cache_dir, or leave cache"):
        cache_images(data, folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    assert data.cache is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up_while_it_is_written_is_told_too(folder, tmp_path, monkeypatch):
    def full(path, write, num_bytes=0):
        with Path("/dev/full").open("wb", buffering=0) as file:
            write(file)

    monkeypatch.setattr(pixel_file, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        cache_images(ImageFolder(folder, get_transforms("resize", 8)), folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_one_builds_while_the_others_wait(folder, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    transform = get_transforms("resize", [8, 8])
    built = []
    build = disk_cache._build

    def counted(*args):
        built.append(1)
        build(*args)

    monkeypatch.setattr(disk_cache, "_build", counted)

    def open_one(number):
        return cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(open_one, range(4)))
    assert len(built) == 1
    for one in opened[1:]:
        assert_equal(samples(one), samples(opened[0]))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, of threads
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_who_waits_for_a_builder_that_is_killed_builds_in_its_place(folder, tmp_path, monkeypatch):
    transform = get_transforms("resize", [8, 8])
    context = multiprocessing.get_context("fork")
    is_inside = context.Event()

    def stuck(path: str) -> Any:
        if "11" in path:
            is_inside.set()
            threading.Event().wait()
        return decode.read_tensor(path)

    with monkeypatch.context() as patched:
        patched.setattr(disk_cache, "read_tensor", stuck)
        cached = ImageFolder(folder, transform)
        builder = context.Process(target=cache_images, args=(cached, "disk", tmp_path / "cache"))
        builder.start()
        assert is_inside.wait(TIMEOUT)

    timer = threading.Timer(0.2, builder.kill)  # while we wait below
    timer.start()
    told: list[str] = []
    monkeypatch.setattr(disk_cache.logger, "info", lambda text, *args: told.append(text))
    cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    builder.join()
    timer.join()
    assert told[0] == "waiting: another process builds %s"
    (place,) = (tmp_path / "cache").iterdir()
    assert [one.name for one in place.iterdir()] == ["images"]
    assert_equal(samples(cached), samples(ImageFolder(folder, transform)))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_the_same_file_and_give_the_same_batches(folder, tmp_path, method):
    transform = get_transforms(["resize", "flip"], [8, 8])
    plain = build_dataloader(ImageFolder(folder, transform), 4, 0)
    cached = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    cached[0]  # mapped in this process already
    assert len(pickle.dumps(cached)) < 20_000  # a path, not the pixels
    loader = build_dataloader(cached, 4, 1, multiprocessing_context=method)
    for one, other in zip(loader, plain, strict=True):
        assert torch.equal(one[0], other[0])
    loader.close()


def test_a_transform_replaced_between_epochs_is_obeyed(folder, tmp_path, caplog):
    first = get_transforms(["resize", "flip"], [8, 8])
    cached = cache_images(ImageFolder(folder, first), folder=tmp_path / "cache")
    loader = build_dataloader(cached, 4, 1)
    list(loader)
    for names, size, warns in ((["resize"], 8, False), (["resize", "flip"], 12, True)):
        cached.transform = get_transforms(names, size)
        plain = build_dataloader(ImageFolder(folder, cached.transform), 4, 0)
        plain.set_position(1)
        loader.set_position(1)
        for one, other in zip(loader, plain, strict=True):
            assert torch.equal(one[0], other[0])
        cached[0]
        assert ("read from their files again" in caplog.text) == warns
    loader.close()


def test_changing_a_sample_in_place_changes_nothing_that_is_read_later(folder, tmp_path):
    cached = cache_images(
        ImageFolder(folder, get_transforms("resize", 8, normalize=False)), folder=tmp_path / "cache"
    )
    before = cached[0][0].clone()
    cached[0][0].zero_()
    assert torch.equal(cached[0][0], before)


def test_broken_images_are_found_before_training_or_skipped_as_without_a_cache(folder, tmp_path):
    (folder / "a" / "4.png").write_bytes(b"no image")
    transform = get_transforms("resize", [8, 8])
    with pytest.raises(DataError, match="on_broken='skip' leaves them out"):
        cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    plain = ImageFolder(folder, transform, on_broken="skip")
    cached = cache_images(
        ImageFolder(folder, transform, on_broken="skip"), folder=tmp_path / "cache"
    )
    assert_equal(samples(cached), samples(plain))
    assert cached.num_broken == plain.num_broken == 1
    with pytest.raises(DataError, match="not an image"):  # that file serves no strict dataset
        cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    Image.new("RGB", (9, 9)).save(folder / "a" / "4.png")
    mended = cache_images(ImageFolder(folder, transform), folder=tmp_path / "cache")
    assert_equal(samples(mended), samples(ImageFolder(folder, transform)))


def test_a_file_replaced_while_it_is_in_use_is_an_error_not_other_pixels(folder, tmp_path):
    cached = cache_images(
        ImageFolder(folder, get_transforms("resize", 8)), folder=tmp_path / "cache"
    )
    late = pickle.loads(pickle.dumps(cached))  # a worker that starts later
    touched(folder / "a" / "2.png")
    cache_images(ImageFolder(folder, cached.transform), folder=tmp_path / "cache")
    cached[0]
    with pytest.raises(LoaderError, match="Start the training again"):
        late[0]


def test_what_cannot_be_cached_is_said(folder, tmp_path):
    class Own(ImageFolder):
        def read(self, index):
            return torch.zeros(3, 4, 4, dtype=torch.uint8)

    with pytest.raises(ConfigError, match=r"read\(\) of its own"):
        cache_images(Own(folder), folder=tmp_path / "cache")
    with pytest.raises(ConfigError, match="it is 'disk'"):
        cache_images(ImageFolder(folder), "ram", tmp_path / "cache")
    data = ImageFolder(folder)
    assert cache_images(data, None) is data
    assert data.cache is None
    with pytest.raises(DataError, match="cannot be read"):
        PixelFile(tmp_path / "nothing")


def test_copies_of_the_dataset_share_what_is_on_the_disk(folder, tmp_path):
    cached = cache_images(ImageFolder(folder), folder=tmp_path / "cache")
    assert_equal(samples(copy.deepcopy(cached)), samples(cached))
