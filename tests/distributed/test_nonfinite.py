"""A loss that becomes NaN on one rank stops all of them, at one step and for one reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.distributed.context import DistContext
from basetrainer.engine.launch import launch
from basetrainer.errors import NonFiniteError
from tests.tiny import TinyTrainer

CASES = [(log_freq, step) for log_freq in (0, 1, 2) for step in (0, 1, 2)]


class Spoilt(TinyTrainer):
    """One of its losses is NaN in one step, on the last rank only."""

    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        is_last = self.context.rank == self.context.world_size - 1
        is_bad = self.model.training and is_last and self.position.step == self.parts["bad"]
        return outputs, {"good": loss, "sour": loss * float("nan") if is_bad else 0.0 * loss}


def stopped(folder: str, log_freq: int, step: int) -> dict[str, Any]:
    """Train, and return how it ended in this process."""
    cfg = {"num_epochs": 2, "progress": False, "gpu_id": [0, 1], "log_freq": log_freq}
    callbacks: list[Any] = [LossesRecorder(), LogHistory(folder, log_freq=0, pictures=False)]
    trainer = Spoilt(cfg, callbacks, batch_size=2, bad=step, num_samples=12, tests=False)
    trainer.callbacks.append(ModelCheckpoint(trainer.model, trainer.optimizer, folder, 2))
    with pytest.raises(NonFiniteError) as caught:
        trainer.run()
    return {"message": str(caught.value), "step": trainer.position.step}


def stop_all(folder: str) -> list[list[dict[str, Any]]]:
    context = DistContext.current()
    # A rank that had gone on, or waited for the others, would spoil the next case.
    return [context.gather(stopped(folder, *case)) for case in CASES]


@pytest.mark.distributed
def test_all_ranks_stop_alike_and_nothing_is_saved(tmp_path):
    for (log_freq, step), (first, second) in zip(
        CASES, launch(stop_all, 2, args=(str(tmp_path),), start_method="fork"), strict=True
    ):
        assert first == second
        said = f"The loss 'sour' became nan at epoch 1, step {step} on rank 1."
        assert first["message"].startswith(said)
        # At the next log point; at the epoch's end, after three steps, where there is none.
        log_points = {0: [3], 1: [0, 1, 2], 2: [1, 3]}[log_freq]
        assert first["step"] == next(one for one in log_points if one >= step)
    assert not list(tmp_path.glob("*.pth"))


@pytest.mark.parametrize(("log_freq", "step"), CASES)
def test_one_process_saves_nothing_either(tmp_path: Path, log_freq: int, step: int):
    ended = stopped(str(tmp_path), log_freq, step)
    assert ended["message"].startswith(f"The loss 'sour' became nan at epoch 1, step {step}. ")
    left = {path.name for path in tmp_path.iterdir()}
    assert "run.json" in left
    assert not left & {"results.csv", "metrics.jsonl"}
    assert not list(tmp_path.glob("*.pth"))
