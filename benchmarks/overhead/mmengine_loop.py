"""The work with MMEngine: ``Runner.train`` with its hooks, its schedule and its TensorBoard.

It has no bar: it prints a line as often as it logs.
"""

from __future__ import annotations

from typing import Any

from mmengine.hooks import ParamSchedulerHook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from benchmarks.overhead.work import LOG_EVERY, Work


class Bare(BaseModel):
    """The net and its loss."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.net = work.model
        self.criterion = work.criterion

    def forward(self, images: Tensor, labels: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        """Return the loss."""
        return {"loss": self.criterion(self.net(images), labels)}


class Full(Bare):
    """The same with its accuracy."""

    def forward(self, images: Tensor, labels: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        """Return the loss, and what is logged beside it."""
        outputs = self.net(images)
        accuracy = (outputs.argmax(1) == labels).float().mean()
        return {"loss": self.criterion(outputs, labels), "accuracy": accuracy}


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    hooks: dict[str, Any] = {"checkpoint": None, "sampler_seed": None}
    options: dict[str, Any] = {}
    if work.has_figures:
        hooks["logger"] = {"type": "LoggerHook", "interval": LOG_EVERY}
        hooks["param_scheduler"] = ParamSchedulerHook()
        options = {
            "param_scheduler": {
                "type": "CosineAnnealingLR",
                "T_max": work.steps,
                "by_epoch": False,
            },
            "visualizer": {
                "type": "Visualizer",
                "vis_backends": [{"type": "TensorboardVisBackend"}],
            },
            "log_processor": {"window_size": LOG_EVERY},
        }
    else:
        hooks |= dict.fromkeys(("runtime_info", "timer", "logger", "param_scheduler"))
    runner = Runner(
        Full(work) if work.has_figures else Bare(work),
        str(work.folder),
        train_dataloader=work.loader(),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper=OptimWrapper(work.optimizer()),
        default_hooks=hooks,
        experiment_name=work.folder.name,
        **options,
    )
    runner.train()
    return work.model
