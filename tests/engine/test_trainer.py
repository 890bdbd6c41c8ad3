"""EngineTrainer: building, counting, testing, predicting."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from easydict import EasyDict
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.engine.trainer import EngineTrainer
from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.models.structure import put_structure
from tests.tiny import TinyTrainer, tiny_data, weights

QUIET = {"num_epochs": 1, "progress": False}


@pytest.mark.parametrize("kind", [dict, EasyDict, lambda cfg: Namespace(**cfg)])
def test_cfg_may_be_a_dict_an_easydict_or_a_namespace(kind):
    trainer = TinyTrainer(kind({"num_epochs": 2, "progress": False, "gpu_id": [0]}))
    trainer.run()
    assert trainer.position.epoch == 2


def test_builders_are_called_in_order_with_the_keyword_arguments():
    order = []

    class Telling(EngineTrainer):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("build_") and name not in ("build_dataloader",):

                def build(cfg: Any, **kwargs: Any) -> Any:
                    order.append((name, kwargs))
                    return {"build_train_loader": [1], "build_model": nn.Linear(1, 1)}.get(name)

                return build
            return super().__getattribute__(name)

    Telling({}).build({}, extra=1)
    assert [name for name, _ in order] == [
        "build_train_loader",
        "build_test_loader",
        "build_model",
        "build_criterion",
        "build_optimizer",
        "build_callbacks",
    ]
    assert all(kwargs == {"extra": 1} for _, kwargs in order)


@pytest.mark.parametrize(
    "name", ["train_loader", "test_loader", "model", "criterion", "optimizer", "callbacks"]
)
def test_a_missing_builder_says_what_to_write(name):
    kind: Any = type(
        "Half", (TinyTrainer,), {f"build_{name}": getattr(EngineTrainer, f"build_{name}")}
    )
    with pytest.raises(NotImplementedError, match=rf"implement build_{name}\(self, cfg"):
        kind({"progress": False})


def test_counters_and_attributes_are_those_of_old(tiny):
    assert (tiny.train_num, tiny.test_num, tiny.num_samples, tiny.num_steps) == (12, 12, 12, 3)
    assert (tiny.is_main_process, tiny.world_size, tiny.local_rank) == (True, 1, 0)
    assert tiny.model.module is tiny.model
    assert list(tiny.model.state_dict()) == ["weight", "bias"]


def test_none_callbacks_are_dropped():
    trainer = TinyTrainer(QUIET, [None, LossesRecorder()])  # type: ignore[list-item]
    assert len(trainer.callbacks) == 1


def test_something_that_is_no_callback_is_refused():
    with pytest.raises(ConfigError, match="is no Callback"):
        TinyTrainer(QUIET, ["loss"]).run()  # type: ignore[list-item]


def test_run_returns_logs_and_two_trainers_share_none():
    first = TinyTrainer(QUIET, [LossesRecorder()]).run()
    second = TinyTrainer(QUIET, [LossesRecorder()]).run()
    assert first is not second
    assert first["train"]["loss"] == second["train"]["loss"]


def test_steps_per_epoch_cuts_data_into_epochs_that_go_on():
    seen = []

    class Trainer(TinyTrainer):
        def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
            seen.append((epoch, step, tuple(inputs[0][:, 0].tolist())))

    trainer = Trainer({**QUIET, "num_epochs": 3, "steps_per_epoch": 2}, tests=False)
    trainer.run()
    assert trainer.num_steps == 2
    assert [place[:2] for place in seen] == [(e, s) for e in range(3) for s in range(2)]
    first_pass = {point for _, _, points in seen[:3] for point in points}
    assert len(first_pass) == 12  # the first three batches, over two epochs, are one pass
    assert [one[2] for one in seen[:3]] != [one[2] for one in seen[3:]]


def test_steps_per_epoch_takes_endless_data():
    class Trainer(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            batch = tiny_data()[:4]

            def endless() -> Any:
                while True:
                    yield batch

            return endless()

    trainer = Trainer({**QUIET, "num_epochs": 2, "steps_per_epoch": 5})
    trainer.run()
    assert trainer.position.update == 10


def test_a_stream_that_ends_is_an_error_that_says_so():
    class Trainer(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return iter([tiny_data()[:4]])

    with pytest.raises(ConfigError, match="pass 1 over the training data had none"):
        Trainer({**QUIET, "steps_per_epoch": 3}).run()


def test_each_epoch_has_an_order_of_its_own_and_a_rerun_the_same():
    def orders() -> list[tuple[float, ...]]:
        seen: list[tuple[float, ...]] = []

        class Trainer(TinyTrainer):
            def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
                seen.append(tuple(inputs[0][:, 0].tolist()))

        Trainer({**QUIET, "num_epochs": 2}).run()
        return seen

    first = orders()
    assert first == orders()
    assert first[:3] != first[3:]
    assert sorted(sum(first[:3], ())) == sorted(sum(first[3:], ()))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"batch_size": 13, "loader": {"drop_last": True}}, "Lower batch_size"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"num_samples": 0}, "training set is empty"),
    ],
)
def test_an_epoch_without_steps_is_refused_before_the_model_is_built(parts, message):
    class Trainer(TinyTrainer):
        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            raise AssertionError("too late")

    with pytest.raises(ConfigError, match=message):
        Trainer(QUIET, **parts)


def test_start_epoch_is_honoured():
    trainer = TinyTrainer({**QUIET, "num_epochs": 5})
    trainer.start_epoch = 3
    trainer.run()
    assert trainer.position.update == 6


def test_run_before_build_says_what_is_missing():
    with pytest.raises(ConfigError, match=r"Call self.build\(cfg\)"):
        EngineTrainer(QUIET).run()


def test_test_returns_the_figures_and_trains_nothing():
    recorders = [LossesRecorder(), AccuracyRecorder(indicator="Accuracy")]
    trainer = TinyTrainer({**QUIET, "num_epochs": 40}, recorders, lr=0.3)
    logs = trainer.run()
    before = weights(trainer)
    figures = trainer.test()
    assert figures == dict(logs["test"])
    assert figures["Accuracy"] == 100.0
    assert torch.equal(before, weights(trainer))


def test_test_takes_a_file_of_weights(tmp_path):
    trainer = TinyTrainer(QUIET, [AccuracyRecorder()])
    state = {"weight": torch.eye(3), "bias": torch.zeros(3)}
    torch.save(state, tmp_path / "good.pth")
    assert trainer.test(tmp_path / "good.pth") == {"Acc": 100.0}
    torch.save({"weight": torch.eye(4)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth is of another model \(not in it: bias; "):
        trainer.test(tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"no file of weights .*absent.pth"):
        trainer.test(tmp_path / "absent.pth")


def test_test_without_a_test_loader_says_so():
    with pytest.raises(ConfigError, match="needs a test loader"):
        TinyTrainer(QUIET, tests=False).test()


def test_predict_yields_outputs_in_sample_order():
    # Far apart, so that no kernel's rounding hides a wrong order.
    points = torch.arange(12.0)[:, None] * torch.tensor([1.0, 10.0, 100.0])
    trainer = TinyTrainer(QUIET, data=TensorDataset(points, torch.zeros(12, dtype=torch.long)))
    outputs = torch.cat(list(trainer.predict(trainer.test_loader)))
    torch.testing.assert_close(outputs, trainer.model(points).detach())
    assert not outputs.requires_grad


def shuffled_loaders() -> list[Any]:
    data = tiny_data()
    every = range(12)
    samplers = [RandomSampler(data), SubsetRandomSampler(every)]
    return [
        EngineTrainer.build_dataloader(data, 4, 0),
        EngineTrainer.build_dataloader(data, 4, 0, phase="test"),
        DataLoader(data, 4, shuffle=True),
        *(DataLoader(data, 4, sampler=one) for one in samplers),
        DataLoader(data, batch_sampler=BatchSampler(samplers[0], 4, drop_last=False)),
    ]


@pytest.mark.parametrize("place", range(6))
def test_predict_refuses_a_loader_that_shuffles(place):
    with pytest.raises(ConfigError, match="shuffle=False"):
        next(TinyTrainer(QUIET).predict(shuffled_loaders()[place]))


def test_predict_takes_plain_loaders_and_lists_in_order():
    trainer = TinyTrainer(QUIET)
    for loader in (DataLoader(tiny_data(), 5), [tiny_data()[:7], tiny_data()[7:]]):
        expected = trainer.model(tiny_data().tensors[0])
        assert torch.allclose(torch.cat(list(trainer.predict(loader))), expected)


def test_predict_leaves_each_module_in_its_mode():
    trainer = TinyTrainer(QUIET, model=nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    trainer.model.train()
    trainer.model[1].eval()
    list(trainer.predict(trainer.test_loader))
    assert [one.training for one in trainer.model.modules()] == [True, True, False]


def test_a_stop_in_the_very_last_step_ends_the_run_with_that_epoch():
    class Stopper(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2 and self.engine is not None:
                self.engine.stop("enough")

    trainer = TinyTrainer({**QUIET, "num_epochs": 5}, [Stopper(), LossesRecorder()])
    logs = trainer.run()
    assert trainer.position.epoch == 1
    assert "loss" in logs["test"]
    assert trainer.stop_reason == "enough"


def test_a_second_run_says_that_nothing_is_left_and_goes_on_with_more_epochs(caplog):
    trainer = TinyTrainer(QUIET)
    trainer.run()
    trainer.run()
    assert "nothing to train: 1 of 1 epochs are done" in caplog.text
    trainer.num_epochs = 3
    trainer.run()
    assert trainer.position.update == 9


def test_test_takes_a_state_dict_as_it_takes_a_file():
    trainer = TinyTrainer(QUIET, [AccuracyRecorder()])
    state = {"module.weight": torch.eye(3), "module.bias": torch.zeros(3)}
    assert trainer.test({"model": state}) == {"Acc": 100.0}


def test_the_loaders_follow_the_runs_seed():
    trainer = TinyTrainer({**QUIET, "seed": 7})
    assert trainer.train_loader.seed == trainer.test_loader.seed == 7
    assert trainer.train_loader.sampler.seed == 7


def test_evaluation_is_in_eval_mode_without_gradients_and_training_in_train_mode():
    modes = []

    class Trainer(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            modes.append((self.model.training, torch.is_grad_enabled()))
            return super().run_step(inputs)

    Trainer({**QUIET, "num_epochs": 2}).run()
    assert modes == ([(True, True)] * 3 + [(False, False)] * 3) * 2


def test_run_train_epoch_and_run_test_epoch_can_be_overridden():
    calls = []

    class Trainer(TinyTrainer):
        def run_train_epoch(self, dataset: Any, logs: Any) -> None:
            calls.append(("train", len(dataset)))

        def run_test_epoch(self, dataset: Any, logs: Any) -> None:
            calls.append(("test", len(dataset)))

    Trainer(QUIET).run()
    assert calls == [("train", 3), ("test", 3)]


def test_a_run_after_a_failed_one_starts_with_a_fresh_window():
    class Failing(TinyTrainer):
        fails = True

        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            if self.fails and self.position.step == 1:
                self.fails = False
                raise RuntimeError("mine")
            return outputs, loss * float("nan") if self.fails else loss

    cfg = {**QUIET, "accumulate_steps": 2, "log_freq": 0}
    trainer = Failing(cfg, tests=False)
    start = weights(trainer)
    with pytest.raises(RuntimeError, match="mine"):
        trainer.run()
    assert torch.equal(start, weights(trainer))  # the half window changed nothing
    trainer.run()
    plain = TinyTrainer(cfg, tests=False)
    plain.run()
    assert torch.equal(weights(trainer), weights(plain))


def test_use_prune_without_a_pruned_network_is_said(caplog):
    TinyTrainer({"use_prune": True, "progress": False})
    assert "TinyTrainer.build_model returned a network that is not pruned" in caplog.text


def test_weights_of_a_pruned_network_say_what_they_are(tiny):
    state = nn.Linear(3, 2).state_dict()
    put_structure(state, {"format": 1, "layers": {"": {"attributes": {}, "shapes": {}}}})
    with pytest.raises(CheckpointError, match="give the file as finetune"):
        tiny.test(state)
