"""get_models: the registry, heads, backbones, widths, small inputs, timm."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError, UnknownNameError
from basetrainer.models.build_models import get_models
from basetrainer.models.heads import find_head, replace_head
from basetrainer.models.registry import known_names

# The smallest squares on which a network can be evaluated; 8 for those not named.
SMALLEST = {
    "alexnet": 63,
    "convnext": 32,
    "densenet": 29,
    "googlenet": 16,
    "inception_v3": 75,
    "maxvit_t": 224,
    "squeezenet1_0": 24,
    "squeezenet1_1": 17,
    "vgg": 32,
    "vit_b_16": 16,
    "vit_l_16": 16,
    "vit_b_32": 32,
    "vit_l_32": 32,
    "vit_h_14": 14,
}
# One of each kind, cheap to build.
TEN = [
    "resnet18",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "mnasnet0_5",
    "efficientnet_b0",
    "regnet_x_400mf",
    "densenet121",
    "googlenet",
]


def smallest(name: str) -> int:
    return next((size for start, size in SMALLEST.items() if name.startswith(start)), 8)


def evaluated(model: nn.Module, size: int) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model.eval()(torch.zeros(2, 3, size, size))
    return output


def check_network(name: str) -> None:
    size = smallest(name)
    model = get_models(name, [size, size], 5, pretrained=False)
    assert model.training
    assert evaluated(model, size).shape == (2, 5), name
    # What get_models(num_classes=None) does to it, without building it anew.
    features = replace_head(model, None)
    assert evaluated(model, size).shape == (2, features), name


@pytest.mark.parametrize("name", TEN)
def test_a_network_of_each_kind_runs_at_its_smallest_input(name: str) -> None:
    check_network(name)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_network_of_torchvision_runs_at_its_smallest_input() -> None:
    names = known_names()
    assert len(names) >= 80
    for name in names:
        check_network(name)


def test_the_signature_is_the_old_one() -> None:
    parameters = inspect.signature(get_models).parameters
    assert list(parameters)[:6] == [
        "net_type",
        "input_size",
        "num_classes",
        "width_mult",
        "is_train",
        "pretrained",
    ]
    defaults = [parameters[name].default for name in ("width_mult", "is_train", "pretrained")]
    assert defaults == [1.0, True, True]


@pytest.mark.parametrize("num_classes", [None, 0])
def test_without_classes_it_is_a_backbone(num_classes: int | None) -> None:
    model = get_models("ResNet18", [32, 32], num_classes, pretrained=False, is_train=False)
    assert not model.training
    assert evaluated(model, 32).shape == (2, 512)
    assert model.num_features == 512


def test_auxiliary_outputs_are_off_unless_asked_for() -> None:
    plain = get_models("googlenet", 64, 5, pretrained=False)
    assert isinstance(plain(torch.zeros(2, 3, 64, 64)), torch.Tensor)
    model = get_models("googlenet", 64, 5, pretrained=False, aux_logits=True)
    replace_head(model, 7)
    outputs = model(torch.zeros(2, 3, 64, 64))
    assert [tuple(one.shape) for one in outputs] == [(2, 7)] * 3


@pytest.mark.parametrize(
    ("name", "width", "channels"),
    [("mobilenet_v2", 0.5, 16), ("mobilenet_v3_small", 0.5, 8)],
)
def test_mobilenets_come_in_any_width(name: str, width: float, channels: int) -> None:
    model = get_models(name, [32, 32], 5, width_mult=width, pretrained=False)
    assert next(model.parameters()).shape[0] == channels
    assert evaluated(model, 32).shape == (2, 5)


@pytest.mark.parametrize("name", ["shufflenet_v2", "shufflenet_v2_x1_0"])
def test_the_width_of_a_family_is_a_name(name: str) -> None:
    half = get_models(name, [32, 32], 5, width_mult=0.5, pretrained=False)
    named = get_models("shufflenet_v2_x0_5", [32, 32], 5, pretrained=False)
    assert [one.shape for one in half.parameters()] == [one.shape for one in named.parameters()]


@pytest.mark.parametrize(
    ("name", "edge"), [("resnet18", 4), ("mobilenet_v2", 2), ("densenet121", 2)]
)
def test_a_small_input_keeps_more_of_its_resolution(name: str, edge: int) -> None:
    model = get_models(name, 32, 5, pretrained=False, small_input=True)
    edges: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: edges.append(output.shape[-1]))
    assert evaluated(model, 32).shape == (2, 5)
    assert edges[0] == 32
    assert edges[-1] == edge


def test_patches_of_a_small_input_are_half_as_large(caplog: pytest.LogCaptureFixture) -> None:
    from basetrainer.models.stems import shrink_stem

    swin = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4))
    assert shrink_stem(swin, "swin_t") == {"0"}
    assert swin[0].kernel_size == swin[0].stride == (2, 2)
    assert not swin.get_parameter("0.bias").any()
    with caplog.at_level("INFO", "basetrainer"):
        assert shrink_stem(nn.Sequential(nn.Conv2d(3, 8, 3)), "vgg11") == set()
    assert "vgg11 has no convolution that strides" in caplog.text


def test_branches_beside_the_first_convolution_lose_their_stride_with_it() -> None:
    from basetrainer.models.stems import shrink_stem

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.narrow = nn.Conv2d(3, 4, 1, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.wide(x) + self.narrow(x)
            return y

    model = nn.Sequential(Branches(), nn.Conv2d(4, 4, 3, stride=2))
    assert shrink_stem(model, "repvgg") == set()
    assert model[0](torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)
    assert model[1].stride == (2, 2)


def test_a_transformer_is_built_for_the_size_of_the_images() -> None:
    with torch.device("meta"):
        model = get_models("vit_b_32", [64, 64], 5, pretrained=False)
    assert model.get_parameter("encoder.pos_embedding").shape == (1, 5, 768)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"net_type": None}, "net_type=None is no name"),
        ({"net_type": 18}, "net_type=18 is no name"),
        ({"net_type": "resnet18", "width_mult": 0.5}, "'resnet18' has one width only"),
        ({"net_type": "mnasnet", "width_mult": 0.6}, "widths 0.5, 0.75, 1.0, 1.3"),
        ({"net_type": "timm/x", "width_mult": 0.5}, "networks of timm have one width"),
        ({"net_type": "vit_b_16", "input_size": [33, 33]}, "patches of 16 and takes squares"),
        ({"net_type": "vit_b_16", "input_size": [32, 64]}, "squares alone"),
        ({"net_type": "maxvit_t", "input_size": [64, 64]}, "cannot build 'maxvit_t'"),
        ({"net_type": "resnet18", "input_size": [3]}, r"input_size=\[3\] is no size of images"),
        ({"net_type": "resnet18", "input_size": [3, 0]}, "is no size of images"),
        ({"net_type": "resnet18", "num_classes": -1}, "num_classes=-1 is no number of classes"),
        ({"net_type": "resnet18", "num_classes": "5"}, "num_classes='5' is no number"),
        ({"net_type": "resnet18", "droput": 0.1}, "cannot build 'resnet18'.*droput"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(kwargs: dict[str, Any], said: str) -> None:
    arguments = {"input_size": None, "num_classes": 5, "pretrained": False} | kwargs
    with pytest.raises(ConfigError, match=said):
        get_models(**arguments)


def test_a_fixed_grid_of_patches_does_not_shrink() -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="patches make a fixed grid"):
        get_models("vit_b_32", [32, 32], 5, pretrained=False, small_input=True)


def test_an_unknown_network_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'resnet19'. Did you mean 'resnet1[0-9]+'"):
        get_models("resnet19", None, 5)


def test_a_head_is_replaced_on_its_place() -> None:
    linear = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)).double()
    assert find_head(linear) == "2"
    assert replace_head(linear, 2) == 6
    assert linear(torch.zeros(1, 4, dtype=torch.float64)).shape == (1, 2)
    assert linear[2].bias is None
    convolution = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Flatten())
    replace_head(convolution, 2)
    assert convolution(torch.zeros(1, 4, 1, 1)).shape == (1, 2)
    with pytest.raises(ConfigError, match="has no Linear or Conv2d layer"):
        find_head(nn.Sequential(nn.ReLU()))
