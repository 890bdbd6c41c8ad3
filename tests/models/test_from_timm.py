"""Networks of timm: the real ones where it is installed, and the message where it is not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError, MissingExtraError, UnknownNameError
from basetrainer.models.build_models import get_models
from basetrainer.models.summary import model_summary

SMALL = "timm/test_resnet"  # 0.5 M parameters, made by timm for tests


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="the extra basetrainer[timm] is not installed")


def output(model: Any, width: int, height: int | None = None) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(model.eval()(torch.zeros(2, 3, height or width, width)).shape)


@pytest.mark.parametrize("name", [SMALL, "TIMM/test_convnext", "timm/test_efficientnet"])
def test_a_network_has_the_classes_or_gives_its_features(timm: Any, name: str) -> None:
    model: Any = get_models(name, [64, 64], 5, pretrained=False)
    assert model.training
    assert output(model, 64) == (2, 5)
    backbone: Any = get_models(name, 64, None, pretrained=False, is_train=False)
    assert not backbone.training
    assert output(backbone, 64) == (2, backbone.num_features)
    assert model_summary(model, [64, 64]).macs > 0


@pytest.mark.parametrize("name", ["resnest14", "ResNeSt14d", "timm/resnest14"])
def test_a_resnest_is_timms(timm: Any, name: str) -> None:
    model = get_models(name, 32, 5, pretrained=False)
    assert type(model).__module__ == "timm.models.resnet"
    assert output(model, 32) == (2, 5)


def test_a_small_input_keeps_more_of_its_resolution(timm: Any) -> None:
    model = get_models("resnest14", 32, 5, pretrained=False, small_input=True)
    edges: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: edges.append(output.shape[-1]))
    assert output(model, 32) == (2, 5)
    assert (edges[0], edges[-1]) == (32, 4)


def test_a_transformer_is_built_for_the_size_of_the_images(timm: Any) -> None:
    model = get_models("timm/test_vit", [96, 64], 5, pretrained=False)
    assert output(model, 96, 64) == (2, 5)
    with pytest.raises(ConfigError, match="patches make a fixed grid"):
        get_models("timm/test_vit", [32, 32], 5, pretrained=False, small_input=True)


def test_options_are_handed_on_and_wrong_ones_refused(timm: Any) -> None:
    model = get_models(SMALL, None, 5, pretrained=False, drop_rate=0.25)
    assert model.drop_rate == 0.25
    with pytest.raises(ConfigError, match=r"timm cannot build 'timm/test_resnet'.*droprate"):
        get_models(SMALL, None, 5, pretrained=False, droprate=0.25)


def test_an_unknown_name_lists_the_nearest(timm: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"'timm/resnest50x'. Did you mean 'timm/resnest50d"):
        get_models("resnest50x", None, 5)
    with pytest.raises(ConfigError, match=r"cannot build 'timm/test_resnet.no'.*\(no\)"):
        get_models(f"{SMALL}.no", None, 5, pretrained=False)


def test_a_local_file_takes_the_place_of_a_download(timm: Any, tmp_path: Path) -> None:
    first = get_models(SMALL, None, 7, pretrained=False)
    torch.save(first.state_dict(), tmp_path / "mine.pth")
    again = get_models(SMALL, None, 5, pretrained=str(tmp_path / "mine.pth"))
    assert again.get_parameter("conv1.0.weight").equal(first.get_parameter("conv1.0.weight"))
    assert again.get_parameter("fc.weight").shape[0] == 5


def test_weights_that_cannot_be_fetched_name_file_and_folder(
    timm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(name: str, **kwargs: Any) -> None:
        raise FileNotFoundError("no network.\nMore of no use.")

    monkeypatch.setattr(timm, "create_model", offline)  # the real one tries for a minute
    with pytest.raises(ConfigError) as caught:
        get_models("timm/resnet18", None, 5)
    said = str(caught.value)
    assert "model.safetensors of timm/resnet18.a1_in1k" in said
    assert "hub" in said
    assert said.endswith(
        "fetched: no network. Give the path of a local file as pretrained, or "
        "write pretrained=False to start from random weights."
    )


def test_a_network_without_pretrained_weights_says_so(timm: Any) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="No pretrained weights exist"):
        get_models("timm/beit3_giant_patch14_224", None, 5)


def test_without_timm_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[timm\]'"):
        get_models("timm/resnet18", None, 5)
