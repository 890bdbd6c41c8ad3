"""A GAN: two networks, two optimizers, one trainer. It learns points on a ring.

python -m examples.gan
python -m examples.gan --num_epochs 80
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import basetrainer as bt
from basetrainer.utils import log

NOISE = 8


def ring(num_points: int, seed: int) -> Tensor:
    """Points near the circle of radius 1, shape ``(num_points, 2)``."""
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * math.pi * torch.rand(num_points, generator=generator)
    radii = 1 + 0.05 * torch.randn(num_points, generator=generator)
    return radii[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)


def network(num_inputs: int, num_outputs: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(num_inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)),
        nn.Linear(64, num_outputs),
    )


class GanTrainer(bt.EngineTrainer):
    """``train_step`` calls ``update`` once for each optimizer; the rest is as usual."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(
            TensorDataset(ring(2048, 0)), cfg["batch_size"], cfg["num_workers"]
        )

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        data = TensorDataset(ring(256, 1))
        return self.build_dataloader(data, 256, cfg["num_workers"], shuffle=False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        nets = {"generator": network(NOISE, 2), "critic": network(2, 1)}
        return self.build_model_parallel(nn.ModuleDict(nets))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return None  # the losses are in train_step

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return {
            name: torch.optim.Adam(net.parameters(), cfg["lr"], betas=(0.5, 0.9))
            for name, net in self.model.module.items()
        }

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        # The figure that is watched: how far from the ring the generated points are.
        return [bt.MultiLossesRecorder()]

    def generate(self, num_points: int) -> Tensor:
        noise = torch.randn(num_points, NOISE, device=self.device)
        points: Tensor = self.model.module["generator"](noise)
        return points

    def train_step(self, inputs: Any) -> Any:
        (real,) = inputs
        critic, count = self.model.module["critic"], len(real)
        fake = self.generate(count)
        scores = critic(torch.cat([real, fake.detach()]))
        truth = torch.cat([torch.ones_like(scores[:count]), torch.zeros_like(scores[count:])])
        critic_loss = functional.binary_cross_entropy_with_logits(scores, truth)
        self.update(critic_loss, count, self.optimizer["critic"])
        scores = critic(fake)
        loss = functional.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))
        self.update(loss, count, self.optimizer["generator"])
        return fake, {"critic": critic_loss, "generator": loss}

    def run_step(self, inputs: Any) -> Any:
        """In tests: the mean distance of generated points from the ring."""
        fake = self.generate(len(inputs[0]))
        return fake, {"distance": (fake.norm(dim=1) - 1).abs().mean()}


def main(argv: list[str] | None = None) -> Any:
    """Train, and return the logs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_epochs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-3)
    cfg = vars(parser.parse_args(argv))
    logger = log.set_logger(level="info")
    logs = GanTrainer(cfg).run()
    logger.info("mean distance from the ring: %.3f", logs["test"]["loss"]["distance"])
    return logs


if __name__ == "__main__":
    main()
