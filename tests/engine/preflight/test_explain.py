"""explain(): what it says is what a run does, and where each setting comes from."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import basetrainer as bt
from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.base import HOOKS
from basetrainer.engine.preflight.explain import ORDER, explain_run
from basetrainer.utils import setup_config
from tests.fixtures.planted_faults import SETTINGS, Folders
from tests.tiny import TinyTrainer, Tracer, tiny_data

CFG = {"num_epochs": 1, "progress": False}


def section(text: str, title: str) -> list[str]:
    """The lines below a title, up to the next empty one."""
    return text.partition(f"{title}\n")[2].partition("\n\n")[0].splitlines()


class Told(TinyTrainer):
    """Writes down the two steps as well."""

    trace: list[str]

    def train_step(self, inputs):
        self.trace.append("train_step")
        return super().train_step(inputs)

    def run_step(self, inputs):
        if not self.model.training:
            self.trace.append("run_step")
        return super().run_step(inputs)


def test_the_order_that_is_told_is_that_of_a_run():
    tracer = Tracer()
    trainer = Told(CFG, [tracer], batch_size=12)
    trainer.trace = tracer.trace
    trainer.run()
    told = [line.strip() for line in ORDER.splitlines() if line and not line.endswith(":")]
    assert [re.sub(r"\(.*", "", line) for line in tracer.trace] == told[:-1]
    assert {*told} - {"train_step", "run_step"} == set(HOOKS)


class First(Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


class Second(Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass

    def on_batch_end(self, batch, logs=None):
        pass


class Own(TinyTrainer):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)

    def run_step(self, inputs):
        return super().run_step(inputs)


def test_each_hook_names_who_hears_it_in_their_order():
    lines = section(
        Own(CFG, [First(), Second()]).explain(), "hooks, and who hears them in which order"
    )
    heard = {line.split()[0]: line.strip().partition(" ")[2].strip() for line in lines}
    assert heard["on_epoch_end"] == "Own itself, First, Second"
    assert heard["on_batch_end"] == "Second"
    assert heard["run_step"] == "Own.run_step"
    assert heard["set_model"] == heard["on_train_begin"] == ""


def settings_of(text: str) -> dict[str, str]:
    """The origin of each setting, by its key; each has one."""
    found = {}
    for line in section(text, "settings, and where they come from"):
        key, origin = re.fullmatch(r"  (\w+): .*  \((.*)\)", line).groups()  # type: ignore[union-attr]
        assert key not in found
        found[key] = origin
    return found


def test_each_setting_has_the_one_origin_that_it_comes_from(monkeypatch):
    Path("my.yaml").write_text("lr: 0.5\nbatch_size: 4\nwork_dir: runs\nnum_classes: 3\n")
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file")
    parser.add_argument("--num_epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    monkeypatch.setattr("sys.argv", ["x", "--config_file", "my.yaml", "--num_epochs", "3"])
    cfg = setup_config.parser_config(parser)
    trainer = Folders(cfg)
    origins = settings_of(trainer.explain())
    assert origins["lr"] == "my.yaml, line 1"
    assert origins["num_epochs"] == "command line"
    assert origins["seed"] == "default"  # the parser's
    assert origins["amp"] == "default"  # the engine's
    assert origins["model_dir"] == "program"
    assert set(origins) >= set(cfg) | set(vars(trainer.config))


def test_the_facts_are_those_of_the_run():
    class Scheduled(Folders):
        def build_callbacks(self, cfg, **kwargs):
            steps = self.num_steps
            return [bt.get_scheduler("cosine", self.optimizer, 0.1, 10, steps, num_warn_up=2)]

    text = Scheduled({**SETTINGS, "num_epochs": 10, "accumulate_steps": 2}).explain()
    assert "  batch     4 x 1 process(es) x 2 accumulated = 8 samples per update\n" in text
    assert "  epochs    10 of 3 steps, 2 updates\n" in text
    assert "  model     Linear, 12 parameters, 12 of them are trained\n" in text
    (schedule,) = re.findall(r"schedule  CosineLR: (.*)", text)
    assert schedule.startswith("0.01 in epoch 1, 0.1 in epoch 3, ")
    assert schedule.endswith("in epoch 10")


def test_a_run_is_explained_without_a_trace_of_it(caplog):
    caplog.set_level("INFO", "basetrainer")
    text = explain_run(Folders, {**SETTINGS, "work_dir": "runs", "resume": "auto"})
    assert caplog.messages[-1] == text
    assert "  work_dir: runs/tiny  (program)" in text
    assert "  resume: auto  (program)" in text
    assert "  num_epochs: 30  (program)" in text
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("key", ["on_train_begin", "run_step", "settings"])
def test_it_works_for_a_trainer_without_settings(key):
    assert key in TinyTrainer(None).explain()


class Pairs:
    """Batches of two, by a rule of its own."""

    def __iter__(self):
        return iter([[0, 1], [2, 3]])

    def __len__(self):
        return 2


def test_batches_that_a_batch_sampler_makes_are_told_by_its_name():
    class Sampled(TinyTrainer):
        def build_train_loader(self, cfg, **kwargs):
            return DataLoader(tiny_data(), batch_sampler=Pairs())

    batch = "  batch     as Pairs makes them x 1 process(es) x 1 accumulated\n"
    assert batch in Sampled(CFG).explain()


def test_batches_of_a_list_are_told_as_the_data_give_them():
    class Listed(TinyTrainer):
        def build_train_loader(self, cfg, **kwargs):
            return [tiny_data()[:2], tiny_data()[2:]]

    assert "  batch     as the data give them x 1 process(es)" in Listed(CFG).explain()
