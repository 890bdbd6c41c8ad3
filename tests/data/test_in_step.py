"""Data of two ranks that are not as long as each other's, or grow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.data.in_step import even_lengths
from basetrainer.distributed.context import DistContext
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError, UsageError
from tests.tiny import TinyTrainer, tiny_data, weights

CFG: dict[str, Any] = {"num_epochs": 1, "progress": False, "gpu_id": [0, 1]}


class Share(IterableDataset[Any]):
    """This rank's part of the samples, from ``begin`` on."""

    is_sharded = True

    def __init__(self, begin: int, end: int) -> None:
        self.range = range(begin, end)

    def __iter__(self) -> Any:
        data = tiny_data()
        return (data[place] for place in self.range)


class Streams(TinyTrainer):
    """Trains and tests on parts of each rank, of the sizes that ``parts`` gives."""

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.share(self.parts["train"])

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.share(self.parts["test"])

    def share(self, ends: tuple[int, int, int]) -> Any:
        begin, end = ends[self.context.rank : self.context.rank + 2]
        return DataLoader(Share(begin, end), batch_size=2)


class Growing(Dataset[Any]):
    """Has four samples at first."""

    def __init__(self) -> None:
        self.size = 4

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: int) -> Any:
        return tiny_data()[place]


class Grow(Callback):
    """Adds samples after each epoch, and counts the batches."""

    def __init__(self, data: Growing) -> None:
        super().__init__()
        self.data, self.seen = data, []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(0)

    def on_batch_end(self, batch, logs=None):
        self.seen[-1] += 1

    def on_epoch_end(self, epoch, logs=None):
        self.data.size = 8


def streamed(train: tuple[int, int, int], test: tuple[int, int, int]) -> Any:
    """The figures of a run and its weights; what it was refused with."""
    torch.manual_seed(5)
    trainer = Streams(CFG, [LossesRecorder()], train=train, test=test)
    try:
        logs = trainer.run()
    except UsageError as error:
        return str(error)
    return logs["test"]["loss"], weights(trainer).tolist(), trainer.position.update


def grown() -> list[int]:
    data = Growing()
    grow = Grow(data)
    cfg = {**CFG, "num_epochs": 2}
    TinyTrainer(cfg, [grow], data=data, batch_size=2, tests=False).run()
    return grow.seen


def lists() -> str:
    context = DistContext.current()
    try:
        return str(even_lengths([None] * (3 + context.rank), context))
    except ConfigError as error:
        return str(error)


def work() -> dict[str, Any]:
    found = {
        "alike": streamed((0, 6, 12), (0, 10, 12)),
        "first is shorter": streamed((0, 4, 12), (0, 6, 12)),
        "second is empty": streamed((0, 6, 6), (0, 6, 12)),
        "grown": grown(),
        "lists": lists(),
    }
    return {name: DistContext.current().gather(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def found() -> Any:
    """What both ranks of one launch have seen."""
    return launch(work, 2, start_method="fork")


@pytest.mark.distributed
def test_streams_that_end_together_train_and_unequal_test_streams_count_each_sample_once(found):
    (first, learnt, updates), (second, others, _) = found["alike"]
    assert updates == 3
    assert learnt == others
    assert first == second
    net = torch.nn.Linear(3, 3)
    net.load_state_dict(
        {"weight": torch.tensor(learnt[:9]).view(3, 3), "bias": torch.tensor(learnt[9:])}
    )
    points, labels = tiny_data().tensors
    whole = torch.nn.functional.cross_entropy(net(points), labels).item()
    assert first == pytest.approx(whole, abs=1e-5)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("case", "rank", "count"), [("first is shorter", 0, 2), ("second is empty", 1, 0)]
)
def test_a_stream_that_ends_early_is_named_on_every_rank(found, case, rank, count):
    first, second = found[case]
    assert first == second
    assert f"stream of rank {rank} ended after {count} batches" in first


@pytest.mark.distributed
def test_a_dataset_that_grows_between_epochs_is_sharded_anew(found):
    assert found["grown"] == [[1, 2], [1, 2]]


@pytest.mark.distributed
def test_lists_of_unequal_lengths_are_refused_before_the_first_batch(found):
    for text in found["lists"]:
        assert "different numbers of training batches (rank 0: 3, rank 1: 4)" in text
