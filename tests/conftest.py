"""Small real things that many tests use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from basetrainer.utils.torch_tools import set_env_random_seed
from tests.tiny import TinyTrainer

# No deadline: a first import inside a test is no property of it. Derandomized: a red run is red
# again when it is repeated.
settings.register_profile("basetrainer", deadline=None, derandomize=True)
settings.load_profile("basetrainer")


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Same seed, one thread, a folder of its own, and no variables of a launcher."""
    set_env_random_seed(0)
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("BASETRAINER_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    # What launch() sets stays in this process: undo it after the test.
    monkeypatch.setenv("BASETRAINER_START_TIME", "2026-01-02T03:04:05.678900")


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    """Take back what a test, or LogHistory in it, made of the package's logging."""
    yield
    logger = logging.getLogger("basetrainer")
    for handler in list(logger.handlers):
        if not isinstance(handler, logging.NullHandler):
            logger.removeHandler(handler)
            handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def tiny() -> TinyTrainer:
    """A trainer of one linear layer on twelve samples."""
    return TinyTrainer({"num_epochs": 2, "progress": False})
