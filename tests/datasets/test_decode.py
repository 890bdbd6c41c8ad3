from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from basetrainer.datasets import decode
from basetrainer.datasets.decode import is_image_name, read_pil, read_tensor
from basetrainer.errors import DataError
from tests.datasets.images import encoded, noise, picture, png16, rgb_pixels, turned

GREY = np.asarray(picture().convert("L"))
GREY_RGB = np.repeat(GREY[..., None], 3, axis=-1)
PALETTE = picture().quantize(16)
PALETTE_RGB = np.asarray(PALETTE.convert("RGB"))
TURNED = np.rot90(rgb_pixels(), k=-1)
WIDE = (rgb_pixels().astype(np.uint16) << 8) | 37

# Name -> content, right pixels, largest difference that its compression excuses.
FILES = {
    "rgb.png": (encoded(picture(), "PNG"), rgb_pixels(), 0),
    "grey.png": (encoded(picture().convert("L"), "PNG"), GREY_RGB, 0),
    "grey_alpha.png": (encoded(picture().convert("LA"), "PNG"), GREY_RGB, 0),
    "rgba.png": (encoded(picture().convert("RGBA"), "PNG"), rgb_pixels(), 0),
    "palette.png": (encoded(PALETTE, "PNG"), PALETTE_RGB, 0),
    "palette_alpha.png": (encoded(PALETTE, "PNG", transparency=bytes(range(16))), PALETTE_RGB, 0),
    "grey16.png": (png16(WIDE[..., 0]), np.repeat(rgb_pixels()[..., :1], 3, axis=-1), 0),
    "rgb16.png": (png16(WIDE), rgb_pixels(), 0),
    "rgba16.png": (png16(np.dstack([WIDE, WIDE[..., 0]])), rgb_pixels(), 0),
    "turned.png": (encoded(picture(), "PNG", exif=turned()), TURNED, 0),
    "rgb.jpg": (encoded(picture(), "JPEG", quality=95), rgb_pixels(), 12),
    "grey.jpg": (encoded(picture().convert("L"), "JPEG", quality=95), GREY_RGB, 4),
    "cmyk.jpg": (encoded(picture().convert("CMYK"), "JPEG", quality=95), rgb_pixels(), 12),
    "turned.jpg": (encoded(picture(), "JPEG", quality=95, exif=turned()), TURNED, 12),
    "rgb.bmp": (encoded(picture(), "BMP"), rgb_pixels(), 0),
    "rgb.webp": (encoded(picture(), "WEBP", lossless=True), rgb_pixels(), 0),
    "turned.webp": (encoded(picture(), "WEBP", lossless=True, exif=turned()), TURNED, 0),
    "rgb.tiff": (encoded(picture(), "TIFF"), rgb_pixels(), 0),
    "grey16.tiff": (
        encoded(Image.fromarray(WIDE[..., 0]), "TIFF"),
        np.repeat(rgb_pixels()[..., :1], 3, axis=-1),
        0,
    ),
    "palette.gif": (encoded(PALETTE, "GIF"), PALETTE_RGB, 0),
    "a_jpeg_called.png": (encoded(picture(), "JPEG", quality=95), rgb_pixels(), 12),
}


@pytest.mark.parametrize("name", FILES)
def test_every_mode_and_format_becomes_the_right_rgb_by_either_decoder(name, tmp_path):
    content, expected, tolerance = FILES[name]
    (tmp_path / name).write_bytes(content)

    tensor = read_tensor(str(tmp_path / name))
    pil = read_pil(str(tmp_path / name))

    assert tensor.dtype == torch.uint8
    assert pil.mode == "RGB"
    for pixels in (tensor.permute(1, 2, 0).numpy(), np.asarray(pil)):
        assert pixels.shape == expected.shape
        assert np.abs(pixels.astype(int) - expected).max() <= tolerance


def test_without_torchvisions_decoder_pillow_reads_all(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "_native_decoder", lambda: None)
    (tmp_path / "a.png").write_bytes(FILES["rgb.png"][0])
    pixels = read_tensor(str(tmp_path / "a.png"))
    assert pixels.permute(1, 2, 0).numpy().tolist() == rgb_pixels().tolist()


def test_torchvisions_decoder_is_there_and_is_used_where_it_is_right():
    assert decode._native_decoder() is not None
    native = {name for name, (content, _, _) in FILES.items() if decode._is_native(content[:16])}
    assert native == {name for name in FILES if name.endswith(("png", "jpg"))} | {"rgb.webp"}


def test_a_decoder_that_is_gone_is_none(monkeypatch):
    decode._native_decoder.cache_clear()
    monkeypatch.setattr(torch, "ops", object())
    assert decode._native_decoder() is None
    decode._native_decoder.cache_clear()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"these are words", r"begins with b'these ar'"),
        ("cut.jpg", encoded(noise(), "JPEG")[:-400], "truncated"),
        ("cut.png", encoded(noise(), "PNG")[:-400], "truncated"),
        ("head.png", encoded(noise(), "PNG")[:20], "cannot decode it|not an image"),
        ("float.tiff", encoded(noise().convert("F"), "TIFF"), "32-bit floats"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    for read in (read_tensor, read_pil):
        with pytest.raises(DataError, match=reason) as caught:
            read(str(tmp_path / name))
        assert name in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: No such file"):
        read_tensor(str(tmp_path / "gone.png"))
    with pytest.raises(DataError, match="directory"):
        read_tensor(str(tmp_path))


def test_image_names_are_told_by_their_ending_in_any_case():
    assert is_image_name("a.b.JPG")
    assert is_image_name("x.webp")
    assert not is_image_name("jpg")
    assert not is_image_name("notes.txt")


@pytest.mark.parametrize("value", [200, 100_000])
def test_images_of_32_bit_integers_are_refused(tmp_path, value):
    from PIL import Image

    file = tmp_path / "a.tif"
    Image.fromarray(np.full((4, 4), value, np.int32)).save(file)
    with pytest.raises(DataError, match="32-bit integers of unknown range"):
        read_tensor(str(file))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_images_of_16_bits_are_read_by_their_high_byte(tmp_path, ending):
    from PIL import Image

    file = tmp_path / f"a.{ending}"
    Image.fromarray(np.full((4, 4), 0x4321, np.uint16)).save(file)
    assert read_tensor(str(file)).unique().tolist() == [0x43]
