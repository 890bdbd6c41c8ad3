"""What a step of an optimizer costs on this CPU: torch's plain loop, foreach, and fused.

    python -m benchmarks.optimizers [NETWORK]

CPU time of one step over the parameters of a network (resnet18), whose gradients are there, on one
core: the best of five rounds, in turns, since the machine may be shared. The last column is how far
the weights are from those of the plain loop after ten steps, in parts of the largest weight.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import nn

import basetrainer as bt

NAMES = ("SGD", "Adam", "AdamW", "Adagrad")
KINDS = {
    "plain": {"fused": False, "foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
ROUNDS, STEPS = 5, 10


def network(name: str) -> nn.Module:
    """Return a network with gradients, the same at every call."""
    torch.manual_seed(0)
    model = bt.get_models(name, [32, 32], 10, pretrained=False)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def run(model: nn.Module, name: str, kind: str) -> tuple[float, torch.Tensor]:
    """Return the CPU milliseconds of a step, and the weights after ten."""
    choice: dict[str, Any] = {"momentum": 0.9, **KINDS[kind]}
    optimizer = bt.get_optimizer(model, optim_type=name, lr=1e-3, **choice)
    optimizer.step()  # the first one makes the state
    begin = time.process_time()
    for _ in range(STEPS - 1):
        optimizer.step()
    milliseconds = 1e3 * (time.process_time() - begin) / (STEPS - 1)
    return milliseconds, torch.cat([one.detach().flatten() for one in model.parameters()])


def main(net_type: str = "resnet18") -> None:
    """Print a table."""
    torch.set_num_threads(1)  # CPU time of several would count waiting
    print("| optimizer | plain, ms | foreach, ms | fused, ms | plain / fused | apart |")
    print("|---|---|---|---|---|---|")
    for name in NAMES:
        costs = dict.fromkeys(KINDS, float("inf"))
        weights = {}
        for _ in range(ROUNDS):
            for kind in KINDS:
                cost, weights[kind] = run(network(net_type), name, kind)
                costs[kind] = min(costs[kind], cost)
        apart = (weights["fused"] - weights["plain"]).abs().max() / weights["plain"].abs().max()
        row = " | ".join(f"{costs[kind]:.1f}" for kind in KINDS)
        print(
            f"| {name} | {row} | {costs['plain'] / costs['fused']:.1f} | {apart:.0e} |", flush=True
        )


if __name__ == "__main__":
    main(*sys.argv[1:2])
