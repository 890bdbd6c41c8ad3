"""One global batch, split over processes and micro-batches, and compared with the whole one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import basetrainer as bt

GLOBAL = 8
IGNORED = -100
WITHIN = 1e-10

Run = dict[str, Any]


def data(tail: int, *, masked: bool) -> TensorDataset:
    """Return two global batches and a tail."""
    generator = torch.Generator().manual_seed(1)
    size = 2 * GLOBAL + tail
    points = torch.randn(size, 3, generator=generator, dtype=torch.float64)
    labels = points.argmax(1)
    if masked:
        labels[torch.rand(size, generator=generator) < 0.4] = IGNORED
        labels[GLOBAL : 2 * GLOBAL] = IGNORED
    return TensorDataset(points, labels)


class Watcher(bt.Callback):
    """Keeps the learning rate of every update."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        engine = self.engine
        if engine is not None and engine.position.update > len(self.rates):
            self.rates.append(float((logs or {})["lr"]))


class SplitTrainer(bt.EngineTrainer):
    """Two layers, and a loss over the labels that are not masked."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.watcher = Watcher()
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        found = data(cfg["tail"], masked=cfg["masked"])
        return self.build_dataloader(found, cfg["batch_size"], 0, shuffle=False)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return None

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        torch.manual_seed(5)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(torch.float64)
        return self.build_model_parallel(net)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss(ignore_index=IGNORED)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        steps = self.num_steps
        scheduler = bt.get_scheduler("cosine", self.optimizer, 0.2, 2, steps, num_warn_up=1)
        return [bt.LossesRecorder(), scheduler, self.watcher]

    def run_step(self, inputs: Any) -> tuple[Tensor, Tensor]:
        outputs = self.model(inputs[0])
        return outputs, functional.cross_entropy(outputs, inputs[1], ignore_index=IGNORED)

    def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> float:
        return float((inputs[1] != IGNORED).sum())


def train(world: int, tail: int, *, masked: bool, whole: bool = False) -> Run:
    """Train two epochs, and return weights, updates, learning rates and the mean loss."""
    cfg = {"num_epochs": 2, "progress": False, "tail": tail, "masked": masked}
    cfg |= {
        "batch_size": GLOBAL if whole else 1,
        "accumulate_steps": 1 if whole else GLOBAL // world,
    }
    trainer = SplitTrainer(cfg)
    logs = trainer.run()
    return {
        "weights": [one.detach().clone() for one in trainer.model.parameters()],
        "updates": trainer.position.update,
        "rates": trainer.watcher.rates,
        "loss": float(logs["train"]["loss"]),
    }


def all_runs(world: int, tails: list[int]) -> list[Run]:
    """Train with every tail, with and without masks; as one of the ranks, if there are several."""
    torch.set_num_threads(1)
    return [train(world, tail, masked=masked) for tail in tails for masked in (False, True)]


def difference(mine: Run, reference: Run) -> float:
    """Return the largest difference of two runs' weights and losses."""
    pairs = zip(mine["weights"], reference["weights"], strict=True)
    weights = max(float((one - other).abs().max()) for one, other in pairs)
    return float(max(weights, abs(mine["loss"] - reference["loss"])))


def same_schedule(mine: Run, reference: Run) -> bool:
    """Whether two runs made the same updates with the same learning rates."""
    rates = torch.tensor(mine["rates"]), torch.tensor(reference["rates"])
    return mine["updates"] == reference["updates"] and torch.allclose(*rates, rtol=0, atol=WITHIN)


def compare(world: int, tails: list[int]) -> tuple[int, float, int]:
    """Return how many runs there were, their largest difference, and how many had the schedule."""
    runs = bt.launch(all_runs, world, args=(world, tails), start_method="fork")
    references = [
        train(1, tail, masked=masked, whole=True) for tail in tails for masked in (False, True)
    ]
    pairs = list(zip(runs, references, strict=True))
    largest = max(difference(*pair) for pair in pairs)
    return len(runs), largest, sum(same_schedule(*pair) for pair in pairs)
