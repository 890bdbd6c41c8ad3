"""EngineConfig: every key has a default, every wrong value a message."""

from __future__ import annotations

import pytest

from basetrainer.engine.config import EngineConfig
from basetrainer.errors import ConfigError


def test_an_empty_cfg_has_every_default():
    assert EngineConfig.from_cfg({}) == EngineConfig()
    assert EngineConfig.from_cfg(None) == EngineConfig()


def test_numbers_written_as_text_are_taken_as_numbers():
    config = EngineConfig.from_cfg({"num_epochs": "3", "clip_grad_norm": "1e-1", "gpu_id": 0})
    assert (config.num_epochs, config.clip_grad_norm, config.gpu_id) == (3, 0.1, (0,))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_epochs", "three"),
        ("num_epochs", 0),
        ("accumulate_steps", 0),
        ("accumulate_steps", 1.5),
        ("clip_grad_norm", -1),
        ("amp", "half"),
        ("on_nonfinite", "rise"),
        ("strategy", "fsdp"),
        ("test_every", 0),
        ("steps_per_epoch", 0),
        ("ema_decay", 1.0),
        ("early_stop", 0),
        ("max_minutes", 0),
        ("seed", -1),
        ("deterministic", "maybe"),
        ("gpu_id", []),
        ("resume", "autp"),
        ("save_every_updates", 0),
    ],
)
def test_a_wrong_value_is_named_with_its_key(key, value):
    with pytest.raises(ConfigError, match=f"(?s){key}.*"):
        EngineConfig.from_cfg({key: value})


def test_a_wrong_choice_suggests_the_nearest():
    with pytest.raises(ConfigError, match="raise"):
        EngineConfig.from_cfg({"on_nonfinite": "rise"})
