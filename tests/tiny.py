"""A trainer of one linear layer on twelve samples, and callbacks that listen to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.base import HOOKS, Base
from basetrainer.engine.trainer import EngineTrainer


def tiny_data(num_samples: int = 12, dtype: torch.dtype = torch.float32) -> TensorDataset:
    """Points of three dimensions in three classes, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(num_samples, 3, generator=generator, dtype=torch.float64).to(dtype)
    return TensorDataset(points, points.argmax(1))


class TinyTrainer(EngineTrainer):
    """Builds itself from a cfg of any length; keyword arguments replace single parts."""

    def __init__(
        self, cfg: Any, callbacks: Sequence[Base] = (), num_samples: int = 12, **parts: Any
    ) -> None:
        super().__init__(cfg)
        self.given_callbacks = callbacks
        self.parts = parts
        self.size = num_samples
        self.dtype = parts.get("dtype", torch.float32)
        self.build(cfg)

    def _loader(self, phase: str) -> Any:
        data = self.parts.get("data") or tiny_data(self.size, self.dtype)
        options = self.parts.get("loader", {})
        batch_size = self.parts.get("batch_size", 4)
        shuffle = phase == "train" and self.parts.get("shuffle", True)
        return self.build_dataloader(data, batch_size, 0, shuffle=shuffle, phase=phase, **options)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self._loader("train")

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self._loader("test") if self.parts.get("tests", True) else None

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        model = self.parts.get("model") or nn.Linear(3, 3)
        return self.build_model_parallel(model.to(self.dtype), self.config.gpu_id)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=self.parts.get("lr", 0.1), momentum=0.9)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return self.parts.get("criterion") or nn.CrossEntropyLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Sequence[Base | None]:
        return list(self.given_callbacks)


def _recording(name: str) -> Any:
    def heard(self: Tracer, *args: Any) -> None:
        parent = getattr(Callback, name)
        if name == "set_model":
            parent(self, *args)
        numbers = [str(one) for one in args if isinstance(one, int)]
        self.trace.append(f"{name}({', '.join(numbers)})")

    return heard


class Tracer(Callback):
    """Writes down every hook with its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[str] = []


for _name in HOOKS:
    setattr(Tracer, _name, _recording(_name))


def weights(trainer: EngineTrainer) -> torch.Tensor:
    """All weights of a trainer's model in one vector."""
    return torch.cat([value.detach().flatten() for value in trainer.model.parameters()])


class StopAt(Callback):
    """Ends the run, for now, after a number of batches of the whole run."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.left = batch

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            assert self.engine is not None
            self.engine.stop("enough for now", is_final=False)
