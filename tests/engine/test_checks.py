"""What is said of a user's slips: keys, loaders, models, callbacks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import basetrainer as bt
from basetrainer.engine.checks import check_loader, warn_of_misspelt_keys
from basetrainer.engine.config import EngineConfig
from basetrainer.errors import ConfigError
from basetrainer.utils import setup_config
from tests.tiny import TinyTrainer, tiny_data

QUIET = {"progress": False}
CONFIG = Path(__file__).parents[2] / "configs" / "config.yaml"


@pytest.mark.parametrize(
    ("key", "meant"),
    [("num_epoch", "num_epochs"), ("epochs", "num_epochs"), ("accum_steps", "accumulate_steps")],
)
def test_a_misspelt_key_is_told_with_the_right_one(caplog, key, meant):
    TinyTrainer({**QUIET, key: 3})
    (message,) = [line for line in caplog.messages if "Did you mean" in line]
    assert message.startswith(f"{key}: this key is not known. Did you mean {meant}?")


def test_a_programs_own_argument_is_judged_by_what_reaches_the_trainer(caplog, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--epochs", "3"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    cfg = setup_config.parser_config(parser)
    TinyTrainer({**QUIET, **cfg, "num_epochs": cfg.epochs})
    assert "Did you mean" not in caplog.text
    TinyTrainer(cfg)
    assert "epochs: this key is not known. Did you mean num_epochs?" in caplog.text


def test_what_the_parser_has_warned_of_is_not_warned_of_again(caplog, monkeypatch):
    Path("my.yaml").write_text("num_epoch: 3\nprogress: false\n")
    monkeypatch.setattr("sys.argv", ["program"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", default="my.yaml")
    parser.add_argument("--num_epochs", type=int, default=1)
    TinyTrainer(setup_config.parser_config(parser))
    (message,) = [line for line in caplog.messages if "Did you mean" in line]
    assert message.startswith("num_epoch (my.yaml, line 1): ")


def test_keys_of_the_users_own_are_left_alone(caplog):
    own = setup_config.load_config(CONFIG)
    own |= {"num_classes": 3, "num_steps": 4, "max_steps": 5, "num_epoch": 1, "decay": 0.1}
    warn_of_misspelt_keys(own)
    assert caplog.text == ""


def test_an_init_without_super_says_so():
    class Forgetful(TinyTrainer):
        def __init__(self, cfg: Any) -> None:
            self.build(cfg)

    with pytest.raises(ConfigError, match=r"Forgetful.__init__ must call super\(\).__init__"):
        Forgetful(QUIET)


class Endless(IterableDataset[Any]):
    """Batches without an end."""

    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)


def test_datasets_and_what_is_read_once_are_no_loaders():
    two = EngineConfig(num_epochs=2)
    with pytest.raises(ConfigError, match=r"this is a dataset \(TensorDataset\)"):
        check_loader(tiny_data(), two)
    generator = (batch for batch in [1, 2])
    for once in (generator, zip([1], [2], strict=True)):
        with pytest.raises(ConfigError, match="can be gone through once, but num_epochs is 2"):
            check_loader(once, two)
    check_loader(generator, EngineConfig(num_epochs=1))
    check_loader(generator, EngineConfig(num_epochs=2, steps_per_epoch=1))
    for fine in ([1, 2], Endless(), None):
        check_loader(fine, two)


def returning(callbacks: Any) -> type[TinyTrainer]:
    class Trainer(TinyTrainer):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            return callbacks

    return Trainer


def test_what_build_callbacks_returns_is_looked_at(caplog):
    with pytest.raises(ConfigError, match=r"returned a LossesRecorder. Return a list: \[Losses"):
        returning(bt.LossesRecorder())(QUIET)
    with pytest.raises(ConfigError, match=r"the class LossesRecorder .* object of it: LossesRec"):
        returning([None, bt.LossesRecorder])(QUIET)
    assert returning([])(QUIET).callbacks == []
    assert caplog.text == ""
    assert returning(None)(QUIET).callbacks == []
    assert "build_callbacks returned None, so no figure is recorded" in caplog.text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes there")
@pytest.mark.parametrize(
    ("name", "note"),
    [("lr", r"plain dict: write cfg['lr']"), ("lrr", "no key 'lrr'. Did you mean 'lr'?")],
)
def test_an_attribute_that_the_settings_lack_is_explained(name, note):
    class Trainer(TinyTrainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            return getattr(cfg, name)

    with pytest.raises(AttributeError) as caught:
        Trainer({**QUIET, "lr": 0.1})
    assert note in caught.value.__notes__[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes there")
def test_a_note_on_torchs_error_has_the_batch_and_the_labels():
    with pytest.raises(IndexError) as caught:
        TinyTrainer(QUIET, model=nn.Linear(3, 2)).run()
    place, cause = caught.value.__notes__
    assert place == "basetrainer: at epoch 1, step 0"
    assert "The batch: [0] (4, 3) float32, [1] (4,) int64." in cause
    assert "The labels in it go from 1 to 2, but the network has 2 classes, 0 to 1." in cause


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes there")
def test_samples_of_different_shapes_are_explained():
    data = [(torch.zeros(size), 0) for size in (1, 2, 3, 4)]
    with pytest.raises(RuntimeError, match="equal size") as caught:
        TinyTrainer(QUIET, data=data).run()
    assert "The samples of one batch have different shapes." in caught.value.__notes__[1]


def test_a_misspelt_key_of_a_file_gets_one_warning(tmp_path, caplog):
    file = tmp_path / "config.yaml"
    file.write_text("num_epoch: 3\naccum_steps: 2\nprogress: false\n")
    TinyTrainer(setup_config.parser_config_file({}, file))
    assert [line.split(" (")[0] for line in caplog.messages if "num_epoch" in line] == ["num_epoch"]
    assert caplog.text.count("Did you mean accumulate_steps?") == 1


def test_a_scheduler_of_torch_among_the_callbacks_is_refused_with_what_to_do():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    given: Any
    for given in (
        torch.optim.lr_scheduler.StepLR(optimizer, 3),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
    ):
        with pytest.raises(ConfigError, match=r"of torch's.*Schedule.of"):
            TinyTrainer(QUIET, [given])
