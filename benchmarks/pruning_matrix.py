"""Four networks, four algorithms, two sparsities, both backends: what pruning leaves, and its use.

    python -m benchmarks.pruning_matrix                  # all of it: ten minutes on two cores
    python -m benchmarks.pruning_matrix resnet18         # one network
    python -m benchmarks.pruning_matrix --others         # which other networks can be pruned at all

A figure is the share of parameters and of MACs (at 64x64) that is left, and the CPU seconds that it
took. Each pruned network must then learn a batch (the loss falls), and be the same to the last bit
after its weights went through a file. BatchNorms have drawn scales and shifts, as after training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from basetrainer.errors import PruningError
from basetrainer.models.build_models import get_models
from basetrainer.models.load_pruned import load_pruned
from basetrainer.pruning.options import BACKENDS
from basetrainer.pruning.prune import prune

SIZE = [64, 64]
NETWORKS = ("small CNN", "resnet18", "mobilenet_v2", "resnet50")
OTHERS = (
    *(
        "vgg11_bn",
        "squeezenet1_1",
        "googlenet",
        "inception_v3",
        "densenet121",
        "shufflenet_v2_x1_0",
    ),
    *("mnasnet0_5", "mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf"),
    *("resnext50_32x4d", "convnext_tiny", "swin_t", "vit_b_32"),
)


def build(name: str, size: list[int] = SIZE) -> nn.Module:
    """Return a network with BatchNorms as after training."""
    torch.manual_seed(0)
    net = small_cnn() if name == "small CNN" else get_models(name, size, 10, pretrained=False)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
            norm.running_mean = torch.randn(norm.num_features) / 10
            norm.running_var = torch.rand(norm.num_features) + 0.5
    return net


def small_cnn() -> nn.Module:
    """Return four convolutions and a classifier."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 64), (64, 128)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def learns(net: nn.Module, steps: int = 24) -> bool:
    """Whether the loss of one batch falls, with a rate at which the full networks learn, too."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 64, 64, generator=draw)
    labels = torch.arange(16) % 10
    optimizer = torch.optim.SGD(net.train().parameters(), lr=0.002, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return min(losses[-3:]) < losses[0]


def reloads(net: nn.Module, full: nn.Module) -> bool:
    """Whether the network is the same to the last bit after a file."""
    images = torch.rand(2, 3, 64, 64)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(net.state_dict(), Path(folder, "pruned.pth"))
        again = load_pruned(Path(folder, "pruned.pth"), full)
    with torch.no_grad():
        one: Tensor = net.eval()(images)
        return torch.equal(one, again.eval()(images))


def matrix(networks: list[str]) -> None:
    """Print a row for each network, algorithm and sparsity."""
    print("| network | algorithm | sparsity | NNI | torch-pruning | same shapes | learn | reload |")
    print("|---|---|---|---|---|---|---|---|")
    for name in networks:
        net = build(name)
        for sparsity in (0.2, 0.5):
            for algorithm in ("L1", "L2", "FPGM", "Slim"):
                cells, shapes, learn, reload = [], [], [], []
                for backend in BACKENDS:
                    begin = time.process_time()
                    result = prune(net, SIZE, sparsity, algorithm, backend=backend)
                    seconds = time.process_time() - begin
                    left = result.parameters[1] / result.parameters[0]
                    work = result.macs[1] / result.macs[0]
                    cells.append(f"{left:.1%} / {work:.1%} / {seconds:.1f} s")
                    shapes.append([tuple(one.shape) for one in result.model.parameters()])
                    reload.append(reloads(result.model, build(name)))
                    learn.append(learns(result.model))
                checks = (shapes[0] == shapes[1], all(learn), all(reload))
                told = " | ".join("yes" if one else "NO" for one in checks)
                row = f"| {name} | {algorithm} | {sparsity} | {' | '.join(cells)} | {told} |"
                print(row, flush=True)


def others(networks: list[str]) -> None:
    """Print which networks each backend can prune by L1 at 0.5, or why it cannot."""
    print("| network | NNI: parameters left | torch-pruning: parameters left |")
    print("|---|---|---|")
    for name in networks:
        size = [224, 224] if name == "vit_b_32" else [96, 96]
        net, cells = build(name, size), []
        for backend in BACKENDS:
            try:
                before, left = prune(net, size, 0.5, backend=backend).parameters
                cells.append(f"{left / before:.0%}")
            except PruningError as error:
                cells.append(str(error))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="What pruning leaves.")
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--others", action="store_true")
    args = parser.parse_args()
    for backend in BACKENDS:  # importing them takes seconds, which are not pruning's
        prune(small_cnn(), SIZE, 0.5, backend=backend)
    if args.others:
        others(args.networks or list(OTHERS))
    else:
        matrix(args.networks or list(NETWORKS))


if __name__ == "__main__":
    main()
