"""Pretrained weights: from the cache, from a file, and the message when they cannot be had."""

from __future__ import annotations

import urllib.error
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.models.build_models import get_models
from basetrainer.models.pretrained import _fitted


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of torch's, and no network."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


NET = "shufflenet_v2_x0_5"
FILE = "shufflenetv2_x0.5-f707e7126e.pth"


def build(
    pretrained: Any, name: str = NET, num_classes: int | None = 5, **kwargs: Any
) -> nn.Module:
    return get_models(name, [32, 32], num_classes, pretrained=pretrained, **kwargs)


def test_pretrained_weights_come_from_torchs_cache(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = build(False, num_classes=1000)
    torch.save(source.state_dict(), cache / FILE)
    with caplog.at_level("INFO", "basetrainer"):
        model = build(True)
    assert torch.equal(
        model.get_parameter("conv1.0.weight"), source.get_parameter("conv1.0.weight")
    )
    assert model.get_parameter("fc.weight").shape[0] == 5
    assert len(caplog.records) == 1
    assert "of another shape: fc.weight (1000, 1024) for (5, 1024)" in caplog.text
    assert (
        build("DEFAULT", num_classes=1000)
        .get_parameter("fc.bias")
        .equal(source.get_parameter("fc.bias"))
    )
    assert build(1, num_classes=None).num_features == 1024


def test_offline_the_error_names_file_folder_and_the_way_out(cache: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build(True)
    for part in (FILE, str(cache), "not known", "pretrained=False", "https://"):
        assert part in str(caught.value)


def test_a_download_goes_to_torchs_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def download(url: str, file: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url, hash_prefix, progress))
        torch.save(build(False, num_classes=1000).state_dict(), file)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    build(True)
    assert asked == [(f"https://download.pytorch.org/models/{FILE}", "f707e7126e", False)]
    assert (cache / FILE).is_file()


def test_a_new_stem_is_not_pretrained_and_the_rest_is(cache: Path) -> None:
    source = build(False, "resnet18", 1000)
    torch.save(source.state_dict(), cache / "resnet18-f37072fd.pth")
    model = build(True, "resnet18", small_input=True)
    assert model.get_parameter("conv1.weight").shape[-1] == 3
    name = "layer1.0.conv1.weight"
    assert model.get_parameter(name).equal(source.get_parameter(name))


def test_a_width_of_ones_own_has_no_pretrained_weights(cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"width_mult=0.5. Write pretrained=False"):
        build(True, "mobilenet_v2", width_mult=0.5)


def test_options_that_the_weights_do_not_fit_are_refused(cache: Path) -> None:
    name = "mobilenet_v3_small"
    torch.save(build(False, name).state_dict(), cache / "mobilenet_v3_small-047dcff4.pth")
    with pytest.raises(ConfigError, match=r"do not fit the options.*reduced_tail.*stay random"):
        build(True, name, reduced_tail=True)


def test_an_unknown_name_of_weights_lists_those_there_are(cache: Path) -> None:
    with pytest.raises(ConfigError, match="has the weights IMAGENET1K_V1, DEFAULT"):
        build("IMAGENET1K_V3")


@pytest.mark.parametrize("as_string", [True, False])
def test_a_local_file_may_be_given(tmp_path: Path, as_string: bool) -> None:
    source = build(False, num_classes=7)
    path = tmp_path / "mine.pth"
    torch.save({"epoch": 3, "model": source.state_dict()}, path)
    model = build(str(path) if as_string else path, width_mult=1.0)
    assert model.get_parameter("conv1.0.weight").equal(source.get_parameter("conv1.0.weight"))


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no file of weights 'gone.pth'"):
        build("gone.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="Is it the file of another network"):
        build(tmp_path / "foreign.pth")


@pytest.mark.parametrize("nothing", [False, None, "", 0])
def test_nothing_pretrained_loads_nothing(cache: Path, nothing: Any) -> None:
    build(nothing)


def test_old_names_in_densenet_files_are_understood() -> None:
    state = {
        "features.denseblock1.denselayer1.norm.1.weight": torch.zeros(1),
        "features.norm0.weight": torch.zeros(2),
    }
    assert set(_fitted(nn.Module(), state)) == {
        "features.denseblock1.denselayer1.norm1.weight",
        "features.norm0.weight",
    }


class Positions(nn.Module):
    """As much of a ViT as its positions need."""

    image_size, patch_size = 64, 16

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, 17, 8))


@pytest.mark.parametrize("places", [5, 17])
def test_the_positions_of_a_transformer_are_resampled_to_its_image_size(places: int) -> None:
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    state["encoder.pos_embedding"] = torch.ones(1, places, 8)
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    fitted = _fitted(Positions(), state)
    torch.testing.assert_close(fitted["encoder.pos_embedding"], torch.ones(1, 17, 8))
    assert fitted._metadata == {"": {"version": 1}}  # type: ignore[attr-defined]
