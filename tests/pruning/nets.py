"""Small networks of every kind that pruning may meet, with BatchNorms as after training."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basetrainer.pruning.options import BACKENDS, require_backend

SIZE = (3, 16, 16)


def needs(*backends: str) -> None:
    """Skip a test whose backends are not installed."""
    for backend in backends or BACKENDS:
        try:
            require_backend(backend)
        except ImportError as error:
            pytest.skip(str(error))


def conv(inputs: int, outputs: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, groups=groups),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SmallCNN(nn.Module):
    """Two convolutions, a hidden Linear layer and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 16), nn.MaxPool2d(4), conv(16, 20), nn.MaxPool2d(2))
        self.hidden = nn.Linear(80, 24)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.features(x).flatten(1)).relu())


class ResidualNet(nn.Module):
    """A shortcut, a depthwise convolution, and one head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16)
        self.one = conv(16, 16)
        self.down = conv(16, 32)
        self.depthwise = conv(32, 32, groups=32)
        self.shortcut = nn.Conv2d(16, 32, 1)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.one(x)
        x = self.depthwise(self.down(x)) + self.shortcut(x)
        return self.head(x.mean((2, 3)))


class Concat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = conv(3, 8), conv(3, 8), conv(16, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(torch.cat([self.a(x), self.b(x)], 1)).mean((2, 3)))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), conv(16, 16, groups=4), conv(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class GroupNorms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.PReLU(16), nn.Conv2d(16, 16, 3)
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Shared(nn.Module):
    """One convolution is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = conv(3, 16), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.twice(self.twice(self.stem(x))).mean((2, 3)))


class TwoHeads(nn.Module):
    """Returns a dict of a map and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), conv(16, 16))
        self.box = nn.Conv2d(16, 4, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x)
        return OrderedDict(box=self.box(x), logits=self.head(x.mean((2, 3))))


class Upsampling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), nn.ConvTranspose2d(16, 16, 2, 2), conv(16, 16))
        self.mask = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mask(self.body(x))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = conv(3, 32), conv(32, 32)
        self.squeeze, self.excite = nn.Linear(32, 8), nn.Linear(8, 32)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return self.head(self.last(x * gate[:, :, None, None]).mean((2, 3)))


class Scaled(nn.Module):
    """Has a parameter of its own per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = conv(3, 16), conv(16, 16)
        self.scale = nn.Parameter(torch.rand(16, 1, 1))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.body(x) * self.scale).mean((2, 3)))


class Chunked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = conv(3, 32), conv(32, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.body(x).chunk(2, 1)
        return self.head(self.last(torch.cat([two, one], 1)).mean((2, 3)))


class Branching(nn.Module):
    """Decides in Python on the values of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = conv(3, 16), conv(16, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if x.sum() > 1e9:
            x = x / 2
        return self.head(self.last(x).mean((2, 3)))


class HardCoded(nn.Module):
    """Has a number of channels in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), conv(16, 32))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)).view(-1, 32))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), conv(16, 16))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x)[0].mean(1))


class Auxiliary(nn.Module):
    """Has a second head that only training sees."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = conv(3, 16), conv(16, 16)
        self.aux, self.head = nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.body(x)
        logits = self.head(self.last(x).mean((2, 3)))
        return (logits, self.aux(x.mean((2, 3)))) if self.training else logits


class Subclassed(nn.Module):
    """Has a convolution of a class of its own, as some libraries do."""

    class Conv(nn.Conv2d):
        pass

    def __init__(self) -> None:
        super().__init__()
        self.body, self.own, self.last = conv(3, 16), self.Conv(16, 16, 3), conv(16, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.own(self.body(x))).mean((2, 3)))


class OnlyOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x)


ZOO = (
    SmallCNN, ResidualNet, Concat, Grouped, GroupNorms, Shared, TwoHeads, Upsampling,
    SqueezeExcite, Scaled, Chunked, Branching, HardCoded, Attention, Auxiliary, Subclassed,
    OnlyOutputs,
)  # fmt: skip


def trained(kind: type[nn.Module], seed: int = 0) -> Any:
    """A network whose BatchNorms have scales, shifts and statistics as after a training."""
    torch.manual_seed(seed)
    net = kind()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
            norm.running_mean = torch.randn(norm.num_features) / 10
            norm.running_var = torch.rand(norm.num_features) + 0.5
            norm.num_batches_tracked = torch.tensor(7)
    return net


def images(count: int = 3) -> Tensor:
    return torch.rand(count, *SIZE, generator=torch.Generator().manual_seed(9))
