from __future__ import annotations

import pickle

import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from basetrainer.datasets.normalize import IMAGENET_MEAN, Normalize
from basetrainer.datasets.transforms import PRESETS, STEPS, Names, get_transforms, read_names
from basetrainer.errors import ConfigError, UnknownNameError


def photo(height: int = 20, width: int = 30) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


def kinds(chain) -> list[str]:
    return [type(step).__name__ for step in chain.steps]


def boxed(image: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    height, width = image.shape[-2:]
    boxes = tv_tensors.BoundingBoxes(
        torch.tensor([[2.0, 4.0, 12.0, 14.0]]), format="XYXY", canvas_size=(height, width)
    )
    mask = torch.zeros(1, height, width, dtype=torch.uint8)
    mask[:, 4:14, 2:12] = 1
    target = {"boxes": boxes, "masks": tv_tensors.Mask(mask), "labels": torch.tensor([1])}
    return tv_tensors.Image(image), target


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_one_size_and_normalised_floats(name):
    chain = get_transforms(name, [16, 12], train=name != "test")
    for image in (photo(), photo(40, 9)):
        result = chain(image)
        assert result.shape == (3, 12, 16)
        assert result.dtype == torch.float32
        assert result.min() < 0


@pytest.mark.filterwarnings("ignore:RandomErasing.* passing through inputs:UserWarning")
@pytest.mark.parametrize("name", STEPS)
def test_every_step_keeps_uint8_and_works_with_boxes(name):
    chain = get_transforms([name], [40, 32], normalize=False)
    if name not in ("iou_crop", "sanitize_boxes"):
        assert chain(photo()).dtype == torch.uint8
    if name not in ("rand_augment", "trivial_augment", "auto_augment", "aug_mix"):
        image, target = chain(boxed(photo()))
        assert image.dtype == torch.uint8
        assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)


def test_what_none_means_follows_the_phase():
    assert kinds(get_transforms(None, [8, 8])) == kinds(get_transforms("train", [8, 8]))
    assert kinds(get_transforms(None, [8, 8], train=False)) == ["PILToTensor", "Resize"]
    assert kinds(get_transforms("mixup", [8, 8])) == kinds(get_transforms("train", [8, 8]))


def test_names_in_a_list_with_arguments_and_in_any_spelling():
    spec: Names = [
        "Resize",
        {"rotation": {"degrees": 15}},
        "RandAugment",
        "horizontal-flip",
        {"cutmix": None},
    ]
    chain = get_transforms(spec, [8, 8])
    expected = ["PILToTensor", "Resize", "RandomRotation", "RandAugment", "RandomHorizontalFlip"]
    assert kinds(chain) == expected
    assert chain.steps[2].degrees == [-15.0, 15.0]
    assert kinds(get_transforms({"resize": {"size": [4, 6]}, "flip": {"p": 1.0}})) == [
        *("PILToTensor", "Resize", "RandomHorizontalFlip")
    ]
    assert kinds(get_transforms(["test", "blur"], [8, 8]))[-1] == "GaussianBlur"


def test_a_list_that_leaves_sizes_open_begins_with_resize():
    assert kinds(get_transforms(["flip"], [8, 8])) == [
        *("PILToTensor", "Resize", "RandomHorizontalFlip")
    ]
    assert kinds(get_transforms(["flip"])) == ["PILToTensor", "RandomHorizontalFlip"]
    crop = get_transforms([{"resize": {"size": 16}}, "center_crop"], [8, 10])
    assert crop(photo()).shape == (3, 10, 8)
    chain = get_transforms([{"resize": {"interpolation": "nearest"}}], [8, 8])
    assert chain.steps[1].interpolation is v2.InterpolationMode.NEAREST


def test_the_list_of_the_caller_is_left_as_it_was():
    spec: Names = [{"random_crop": {"padding": 2}}, "flip"]
    get_transforms(spec, [8, 8])
    assert spec == [{"random_crop": {"padding": 2}}, "flip"]


def test_pillow_images_are_taken_too():
    image = photo()
    pil = Image.fromarray(image.permute(1, 2, 0).numpy())
    chain = get_transforms("test", [8, 8])
    assert torch.equal(chain(pil), chain(image))


def test_the_normalisation_can_be_split_off_and_done_on_the_batch():
    chain = get_transforms("test", [8, 6], mean=[0.4, 0.5, 0.6], std=[0.2, 0.2, 0.3])
    for_loader, normalize = chain.split()
    assert isinstance(normalize, Normalize)
    images = [photo(), photo(9, 9)]
    batch = torch.stack([for_loader(image) for image in images])
    assert batch.dtype == torch.uint8
    assert torch.equal(normalize(batch), torch.stack([chain(image) for image in images]))
    assert get_transforms("test", [8, 8], normalize=False).split()[1] is None


def test_boxes_and_masks_go_along_with_the_image():
    spec: Names = [{"resize": {"size": [40, 60]}}, {"flip": {"p": 1.0}}, "sanitize_boxes"]
    image, target = get_transforms(spec)(*boxed(photo()))
    assert isinstance(image, tv_tensors.Image)
    assert image.dtype == torch.float32
    assert target["boxes"].tolist() == [[36.0, 8.0, 56.0, 28.0]]
    assert target["boxes"].canvas_size == (40, 60)
    assert target["labels"].tolist() == [1]
    mask = target["masks"]
    assert isinstance(mask, tv_tensors.Mask)
    assert mask.dtype == torch.uint8
    rows, columns = mask[0].nonzero().unbind(1)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (36, 8, 55, 27)


def test_a_chain_pickles_and_repeats_under_a_seed():
    chain = get_transforms("trivial_augment", [12, 12])
    again = pickle.loads(pickle.dumps(chain))
    image = photo()
    torch.manual_seed(5)
    first = chain(image)
    torch.manual_seed(5)
    assert torch.equal(first, again(image))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("rezise", "Unknown transform 'rezise'. Did you mean 'resize'"),
        (["flip", {"rotatoin": {}}], "Did you mean 'rotation'"),
    ],
)
def test_an_unknown_name_lists_the_nearest(names, message):
    with pytest.raises(UnknownNameError, match=message):
        get_transforms(names, [8, 8])


@pytest.mark.parametrize(
    ("names", "size", "message"),
    [
        (
            [{"rotation": {"degree": 3}}],
            [8, 8],
            "'rotation' does not take .*Its arguments: degrees",
        ),
        ([{"affine": {"degrees": 3, "scale": [-1, 2]}}], [8, 8], "'affine' does not take"),
        ([{"rotation": 15}], [8, 8], "name them, as in"),
        ([{"flip": None, "p": 1}], [8, 8], "write a name, or one name with its arguments"),
        ([3], [8, 8], "write a name"),
        (3, [8, 8], r"Transforms 3: write a name, or a list of names, as in \[resize, flip\]"),
        ([{"resize": {"interpolation": "cubic"}}], [8, 8], "'cubic' is not a valid Interp"),
        (["resize", "ToTensor"], [8, 8], "'ToTensor' is done in any case.*Leave it out"),
        ([{"normalize": {"mean": 3}}], [8, 8], "normalised last, by mean and std"),
        ([{"train": {"p": 1}}], [8, 8], "is a list of others"),
        ("resize", None, "needs a size"),
        ("test", [8], r"give \[W, H\]"),
        ("test", [8, 0], r"give \[W, H\]"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(names, size, message):
    with pytest.raises(ConfigError, match=message):
        get_transforms(names, size)


def test_images_have_three_channels():
    with pytest.raises(ConfigError, match="images are RGB, give three figures each, or one"):
        get_transforms("test", [8, 8], mean=[0.5, 0.5], std=[0.5, 0.5])


def test_without_figures_they_are_those_of_imagenet_and_an_empty_list_is_the_resize_alone():
    image = photo()
    plain = get_transforms([], [8, 6])
    assert kinds(plain) == ["PILToTensor", "Resize"]
    assert torch.equal(plain(image), get_transforms("test", [8, 6], mean=IMAGENET_MEAN)(image))


def test_a_test_does_not_mix_samples():
    with pytest.raises(ConfigError, match="for training only"):
        get_transforms(["test", "mixup"], [8, 8], train=False)
    assert read_names(["test", {"MixUp": {"alpha": 0.2}}])[-1] == ("mixup", {"alpha": 0.2})
