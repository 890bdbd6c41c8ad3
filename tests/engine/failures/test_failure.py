"""What is said when a run fails: its place, and what held the memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.checkpoint.run_folder import checkpoint_paths
from basetrainer.errors import OutOfMemoryError
from tests.engine.resume.test_origin import CFG, Trainer
from tests.tiny import TinyTrainer


class Hungry(nn.Module):
    """Asks for more memory than there is, at the third training batch."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.left = 3
        self.error = error

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            if self.error is not None:
                raise self.error
            torch.empty(1 << 60, dtype=torch.uint8)  # no machine has an exbibyte
        out: torch.Tensor = self.layer(inputs)
        return out


ERRORS = {
    "the CPU's own": None,
    "an accelerator's": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "Python's": MemoryError("cannot allocate"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_out_of_memory_says_what_the_batch_was_and_what_holds_memory(name):
    trainer = TinyTrainer({"progress": False, "num_epochs": 2}, model=Hungry(ERRORS[name]))
    with pytest.raises(OutOfMemoryError) as caught:
        trainer.run()
    message = str(caught.value)
    for part in ("on cpu at epoch 1, step 2", "(4, 3) float32, (4,) int64", "parameters 0 MiB"):
        assert part in message
    for part in ("gradients", "optimizer", "batch_size", "accumulate_steps", "amp: bf16"):
        assert part in message
    assert isinstance(caught.value, MemoryError)
    assert caught.value.__cause__ is not None
    assert caught.value.exit_code == 1


def test_the_last_checkpoint_outlives_it():
    class Full(Callback):
        def on_batch_begin(self, batch, logs=None):
            if self.engine is not None and self.engine.position.update == 7:
                raise MemoryError

    with pytest.raises(OutOfMemoryError, match="Checkpoints that were written are whole"):
        Trainer(CFG, Full()).run()
    (path,) = checkpoint_paths(Path("run/checkpoints"))
    assert path.name == "update-00000006"
    assert Trainer(CFG).run()["test"]


def test_another_error_stays_itself_with_the_place_as_a_note():
    class Broken(Callback):
        def on_batch_end(self, batch, logs=None):
            if batch == 1:
                raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine") as caught:
        TinyTrainer({"progress": False}, [Broken()]).run()
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["basetrainer: at epoch 1, step 1"]
