"""model_summary: counts that can be checked by hand, and a model left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError
from basetrainer.models.freeze import freeze
from basetrainer.models.summary import model_summary


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def test_the_counts_are_those_one_makes_by_hand() -> None:
    summary = model_summary(net(), [6, 5])
    assert summary.input_shape == (1, 1, 5, 6)
    assert summary.parameters == summary.trainable == 4 * 9 + 4 + 8 + 8 + 2
    assert summary.macs == 5 * 6 * 4 * 9 + 8
    convolution, norm, *_, linear = summary.layers
    assert (convolution.name, convolution.kind) == ("0", "Conv2d")
    assert convolution.output == (1, 4, 5, 6)
    assert (convolution.parameters, convolution.macs) == (40, 1080)
    assert (norm.parameters, linear.macs) == (8, 8)
    # Convolution, norm, pooling and classifier; the rest works in place or only looks.
    assert summary.activation_bytes == 4 * (4 * 30 + 4 * 30 + 4 + 2)


def test_attention_is_counted_and_given_to_its_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    summary = model_summary(nn.Sequential(nn.Flatten(1, 2), layer), (1, 5, 8))
    per_token = 8 * 24 + 8 * 8 + 2 * 8 * 16
    assert summary.macs == 5 * per_token + 2 * 5 * 5 * 8
    attention = next(one for one in summary.layers if one.kind == "MultiheadAttention")
    assert attention.macs == 5 * (8 * 24 + 8 * 8) + 2 * 5 * 5 * 8
    assert sum(one.macs for one in summary.layers) == summary.macs


def test_the_table_shows_layers_and_sums() -> None:
    model = net()
    freeze(model, "0")
    text = str(model_summary(model, 6))
    assert "0      Conv2d" in text
    assert "1x4x6x6" in text
    assert text.endswith(
        "Sequential on 1x1x6x6: 0.00 M parameters, 0.00 M trainable; 0.0 M MACs and 0.0 MiB of "
        "activations per sample"
    )
    assert model_summary(model, 6).trainable == 18


def test_the_model_is_left_as_it_was() -> None:
    model = net()
    model[3].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    model_summary(model, [6, 6])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert [one.training for one in model.modules()] == [True] * 4 + [False] + [True] * 3
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_convolutions_takes_three_channels_or_a_shape() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert model_summary(flat, [2, 2]).input_shape == (1, 3, 2, 2)
    assert model_summary(flat, (1, 3, 4)).input_shape == (1, 1, 3, 4)
    assert model_summary(nn.ReLU(), 2).parameters == 0


class Dictionary(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": x + 1}


def test_outputs_may_be_dicts() -> None:
    assert model_summary(Dictionary(), 2).activation_bytes == 48


def test_an_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot be run with an input of shape 1x3x5x5"):
        model_summary(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), [5, 5])
    with pytest.raises(ConfigError, match=r"input_size=\[5\]: write \[W, H\]"):
        model_summary(net(), [5])
