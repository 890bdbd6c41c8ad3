"""max_batches: a run that takes no more than the first batches of each loader."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils.data import DataLoader

from basetrainer.engine.first_batches import FirstBatches
from tests.tiny import TinyTrainer, tiny_data

CFG = {"num_epochs": 2, "progress": False}


class Counting(TinyTrainer):
    """Counts the batches of each phase that it trains on and is tested on."""

    def __init__(self, cfg: Any, **parts: Any) -> None:
        self.trained, self.tested = 0, 0
        super().__init__({**CFG, **cfg}, **parts)

    def on_train_summary(self, *args: Any) -> None:
        self.trained += 1
        super().on_train_summary(*args)

    def on_test_summary(self, *args: Any) -> None:
        self.tested += 1
        super().on_test_summary(*args)


class OwnLoop(Counting):
    """Iterates over its dataset as it is."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        for inputs in dataset:
            self.train_step(self.to_device(inputs))
            self.trained += 1

    def run_test_epoch(self, dataset: Any, logs: Any) -> None:
        self.tested += sum(1 for _ in dataset)


@pytest.mark.parametrize("kind", [Counting, OwnLoop])
def test_each_epoch_and_each_evaluation_end_after_so_many_batches(kind):
    trainer = kind({})
    assert trainer.num_steps == 3
    trainer.max_batches = 2
    trainer.run()
    assert (trainer.trained, trainer.position.update) == (4, 4)
    assert trainer.tested == 2 * min(2, len(trainer.test_loader))
    assert (trainer.position.epoch, trainer.position.step) == (2, 0)


def test_more_than_there_are_changes_nothing():
    trainer = Counting({})
    trainer.max_batches = 99
    trainer.run()
    assert trainer.trained == 6
    assert trainer.tested == 2 * len(trainer.test_loader)


def test_an_update_is_taken_from_a_window_that_was_cut():
    trainer = Counting({"accumulate_steps": 3})
    trainer.max_batches = 2
    trainer.run()
    assert (trainer.trained, trainer.position.update) == (4, 2)


def test_epochs_of_a_given_length_end_earlier():
    trainer = Counting({"steps_per_epoch": 7})
    trainer.max_batches = 2
    trainer.run()
    assert trainer.position.update == 4


def test_an_observer_sees_each_batch_of_a_phase():
    seen = []

    def observer(batches: Any, phase: str) -> Any:
        for batch in batches:
            seen.append((phase, len(batch[0])))
            yield batch

    trainer = Counting({"num_epochs": 1})
    trainer.observer = observer
    trainer.run()
    phases = [phase for phase, _ in seen]
    assert phases == ["train"] * 3 + ["test"] * len(trainer.test_loader)


def test_the_first_batches_have_the_attributes_of_their_loader():
    loader: Any = DataLoader(tiny_data(), 4)
    first = FirstBatches(loader, 2)
    assert (len(first), len(list(first)), first.batch_size) == (2, 2, 4)
    assert len(FirstBatches(loader, 50)) == len(loader)
    with pytest.raises(AttributeError, match="no_such"):
        first.no_such  # noqa: B018
