"""A loop of one's own that two ranks leave in the middle of a window of accumulation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from basetrainer.engine.launch import launch
from tests.tiny import TinyTrainer, weights


class Early(TinyTrainer):
    """Leaves its epoch after three batches, and keeps its counts on the device."""

    def run_train_epoch(self, dataset: Any, logs: Any) -> None:
        self.model.train()
        for number, inputs in enumerate(dataset):
            self.train_step(inputs)
            if number == 2:
                break

    def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> Tensor:
        return torch.tensor(len(inputs[1]))


def train(batch_size: int) -> Any:
    cfg = {"num_epochs": 1, "progress": False, "accumulate_steps": 2, "gpu_id": [0, 1]}
    trainer = Early(cfg, num_samples=40, batch_size=batch_size, tests=False)
    trainer.run()
    found = weights(trainer).tolist(), trainer.position.update
    return trainer.context.gather(found)


@pytest.mark.distributed
def test_the_window_that_is_left_open_is_averaged_over_the_ranks():
    first, second = launch(train, 2, start_method="fork", args=(4,))
    (alone,) = train(8)
    assert first == second
    assert first[1] == alone[1] == 2
    assert torch.allclose(torch.tensor(first[0]), torch.tensor(alone[0]), atol=1e-6)
