"""What strict type checkers accept runs as well; ``mypy`` and ``pyright`` check the program."""

from __future__ import annotations

import torch

from basetrainer.utils.setup_config import parser_config
from tests.contract.typed_program import Largest, Trainer, get_parser


def test_the_typed_program_learns_and_its_callback_is_saved_and_restored(monkeypatch):
    monkeypatch.setattr("sys.argv", ["program.py"])
    torch.manual_seed(0)
    trainer = Trainer(parser_config(get_parser()))
    logs = trainer.run()
    assert logs["test"]["loss"] < 0.6
    (callback,) = [one for one in trainer.callbacks if isinstance(one, Largest)]
    assert callback.largest == logs["train"]["loss"]
    other = Largest()
    other.load_state_dict(callback.state_dict())
    assert other.largest == callback.largest
