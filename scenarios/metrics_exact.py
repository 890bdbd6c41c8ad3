"""The metrics of a network that learns nothing, for any size of data and number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils.data import TensorDataset

import basetrainer as bt
from basetrainer.distributed.context import DistContext

SIZES, BATCHES, WORLDS = range(1, 41), (1, 4, 7), (1, 2, 3)
CLASSES = 5

Case: TypeAlias = tuple[int, int, bool]
"""Samples, samples of a batch, and whether there are two test sets and several losses."""


def points(size: int) -> TensorDataset:
    """Return the first ``size`` of endless samples."""
    generator = torch.Generator().manual_seed(3)
    data = torch.randn(max(SIZES), 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (max(SIZES),), generator=generator)
    return TensorDataset(data[:size], labels[:size])


class Judge(bt.EngineTrainer):
    """A network that learns nothing, so that figures depend on the data alone."""

    def __init__(self, case: Case, is_trained: bool) -> None:
        super().__init__({"progress": False, "gpu_id": list(range(max(WORLDS)))})
        self.size, self.batch_size, self.has_several = case
        self.is_trained = is_trained
        self.build(None)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        """Return the samples, or something that is not looked at."""
        size = self.size if self.is_trained else max(SIZES)
        return self.build_dataloader(points(size), self.batch_size, 0)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        """Return one test set, or two by name."""
        if not self.has_several:
            return self._test_loader(self.size)
        return {"all": self._test_loader(self.size), "few": self._test_loader(self.size // 3 or 1)}

    def build_model(self, cfg: Any, **kwargs: Any) -> nn.Module:
        """Return a linear layer, the same in every process."""
        torch.manual_seed(5)
        model = nn.Linear(4, CLASSES, dtype=torch.float64)
        return self.build_model_parallel(model, self.config.gpu_id)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> nn.Module:
        """Return the mean over the samples."""
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        """Return an optimizer that changes nothing."""
        return torch.optim.SGD(self.model.parameters(), lr=0.0)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> list[bt.Callback]:
        """Return the recorders."""
        self.accuracy = bt.AccuracyRecorder(topk=(2,))
        losses = bt.MultiLossesRecorder() if self.has_several else bt.LossesRecorder()
        return [losses, self.accuracy]

    def run_step(self, inputs: Any) -> tuple[Any, Any]:
        """Return several losses where they are asked for."""
        outputs, loss = super().run_step(inputs)
        return outputs, {"ce": loss, "norm": outputs.square().mean()} if self.has_several else loss

    def _test_loader(self, size: int) -> Any:
        return self.build_dataloader(points(size), self.batch_size, 0, False, phase="test")


def figures(cases: Sequence[Case]) -> dict[Case, dict[str, float]]:
    """Return the figures of each case, each by its path in the logs; run in every process.

    Raises:
        RuntimeError: If the processes do not agree on them.
    """
    context = DistContext.current()
    found = {}
    for case in cases:
        size, batch_size, _ = case
        tail = size % (batch_size * context.world_size)
        is_trained = size >= context.world_size and (not tail or tail >= context.world_size)
        judge = Judge(case, is_trained)
        logs = judge.run() if is_trained else {"test": judge.test()}
        matrices = {name: one.flatten().tolist() for name, one in judge.accuracy.matrices.items()}
        told = {phase: logs[phase] for phase in ("train", "test") if phase in logs}
        found[case] = dict(flat({**told, "matrix": matrices}))
    if any(other != found for other in context.gather(found)):
        raise RuntimeError("The processes do not agree on the figures.")
    return found


def flat(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number in nested dicts and lists, with its path."""
    if isinstance(value, (dict, list)):
        items: Iterable[Any] = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in items:
            yield from flat(one, f"{path}/{name}")
    else:
        yield path, value


def differences(one: dict[Case, dict[str, float]], other: dict[Case, dict[str, float]]) -> Any:
    """Compare two worlds.

    Returns:
        ``(compared, unlike, largest)``: how many figures were compared, the case and path of each
        count that is not identical or is absent, and the largest difference of a loss.
    """
    compared, unlike, largest = 0, [], 0.0
    for case, expected in one.items():
        for path, value in expected.items():
            if path not in other[case]:
                if "/train/" not in path:
                    unlike.append((case, path))
                continue
            compared += 1
            if "loss" in path:
                largest = max(largest, abs(other[case][path] - value))
            elif other[case][path] != value:
                unlike.append((case, path))
    return compared, unlike, largest
