"""What a step does beyond the plain one: precision, clipping, NaN, several optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.errors import NonFiniteError, UsageError
from tests.tiny import TinyTrainer, weights

QUIET = {"num_epochs": 1, "progress": False}


class Gan(TinyTrainer):
    """Two networks, two optimizers: train_step is the one method to override."""

    noises: Iterator[torch.Tensor] = iter(lambda: torch.randn(4, 2), None)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        model = nn.ModuleDict({"generator": nn.Linear(2, 3), "critic": nn.Linear(3, 1)})
        return self.build_model_parallel(model)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return {
            name: torch.optim.Adam(part.parameters(), lr=lr)
            for (name, part), lr in zip(self.model.module.items(), (0.01, 0.02), strict=True)
        }

    def train_step(self, inputs: Any) -> tuple[Any, Any]:
        real, _ = inputs
        generator, critic = self.model.module["generator"], self.model.module["critic"]
        noise = next(self.noises)
        with self.forward_context():
            fake = generator(noise)
            scores = critic(torch.cat([real, fake.detach()]))
            truth = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
            critic_loss = functional.binary_cross_entropy_with_logits(scores, truth)
        self.update(critic_loss, len(real), self.optimizer["critic"])
        with self.forward_context():
            scores = critic(fake)
            loss = functional.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))
        self.update(loss, len(real), self.optimizer["generator"])
        return fake, {"critic": critic_loss, "generator": loss}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gan_trains_two_optimizers_by_overriding_one_method(accumulate):
    heard = []

    class Reader(Callback):
        def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
            heard.append(set(losses))

    trainer = Gan({**QUIET, "accumulate_steps": accumulate}, [Reader()], tests=False)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    logs = trainer.run()
    for name, value in trainer.model.state_dict().items():
        assert not torch.equal(before[name], value), name
    steps = [next(iter(one.state.values()))["step"] for one in trainer.optimizers]
    assert steps == [-(-3 // accumulate)] * 2
    assert logs["lr"] == 0.01
    assert heard == [{"critic", "generator"}] * 3


def test_a_gan_accumulates_each_networks_gradients_alone():
    """The generator's loss reaches the critic's weights, but must not be added to them."""
    results = []
    for sizes in ([4], [2, 2]):
        torch.manual_seed(3)
        trainer = Gan({**QUIET, "accumulate_steps": len(sizes)}, tests=False)
        trainer.train_loader = [(part, 0) for part in torch.randn(4, 3).split(sizes)]
        trainer.noises = iter(torch.randn(4, 2).split(sizes))
        trainer.run()
        results.append(weights(trainer))
    # Adam's first step is sign-like, so a spoilt gradient would show at once.
    assert torch.allclose(results[0], results[1], atol=1e-6)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_runs_the_model_in_half_and_keeps_the_weights_in_float(amp):
    dtypes = []

    class Reader(Callback):
        def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
            dtypes.append(outputs.dtype)

        def on_test_summary(self, inputs, outputs, losses, epoch, batch, logs=None):
            dtypes.append(outputs.dtype)

    trainer = TinyTrainer({**QUIET, "amp": amp, "num_epochs": 30}, [Reader()], lr=0.3)
    trainer.run()
    assert set(dtypes) == {torch.bfloat16 if amp == "bf16" else torch.float16}
    assert {value.dtype for value in trainer.model.parameters()} == {torch.float32}
    assert trainer.predict_step(next(iter(trainer.test_loader))).argmax(1).tolist() == (
        next(iter(trainer.test_loader))[1].tolist()
    )


def test_clip_grad_norm_bounds_the_norm_of_all_gradients_together():
    norms = []

    class Reader(Callback):
        def on_train_summary(self, *args: Any) -> None:
            assert self.model is not None
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    TinyTrainer({**QUIET, "clip_grad_norm": 0.01}, [Reader()]).run()
    assert len(norms) == 3
    assert max(norms) <= 0.01 + 1e-6


def test_gradients_stay_readable_in_on_train_summary_and_are_fresh_each_step():
    seen = []

    class Reader(Callback):
        def on_train_summary(self, *args: Any) -> None:
            seen.append(self.model.weight.grad)  # type: ignore[union-attr]

    TinyTrainer(QUIET, [Reader()]).run()
    assert all(gradient is not None for gradient in seen)
    assert len({id(gradient) for gradient in seen}) == 3


def test_an_optimizers_own_zero_grad_is_called():
    calls = []

    class Mine(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            calls.append(set_to_none)
            super().zero_grad(set_to_none)

    class Trainer(TinyTrainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            return Mine(self.model.parameters(), lr=0.1)

    Trainer(QUIET).run()
    assert calls == [True] * 3


class Spoilt(TinyTrainer):
    """Its loss is NaN at given steps."""

    bad: tuple[int, ...] = ()

    def run_step(self, inputs: Any) -> Any:
        outputs, loss = super().run_step(inputs)
        is_bad = self.model.training and self.position.step in self.bad
        return outputs, {"good": loss, "sour": loss * float("nan") if is_bad else 0.0 * loss}


def test_nan_raises_at_the_next_log_point_naming_epoch_step_and_loss(tmp_path):
    trainer = Spoilt({**QUIET, "log_freq": 2})
    trainer.bad = (1, 2)
    with pytest.raises(NonFiniteError, match="loss 'sour' became nan at epoch 1, step 1"):
        trainer.run()
    assert trainer.position.step == 1


def test_nan_between_log_points_raises_before_the_epoch_is_evaluated():
    trainer = Spoilt({**QUIET, "log_freq": 0})
    trainer.bad = (2,)
    with pytest.raises(NonFiniteError, match="step 2"):
        trainer.run()
    assert trainer.position.epoch == 0


def test_skip_leaves_the_bad_update_out_and_goes_on():
    trainer = Spoilt({**QUIET, "on_nonfinite": "skip"}, [LossesRecorder()], shuffle=False)
    trainer.bad = (1,)
    logs = trainer.run()
    assert math.isfinite(logs["train"]["loss"])
    assert torch.isfinite(weights(trainer)).all()
    assert trainer.position.update == 2  # of those that were taken
    assert next(iter(trainer._updaters.values())).num_skipped == 1


def test_skip_gives_up_after_max_skips_in_a_row():
    trainer = Spoilt({**QUIET, "on_nonfinite": "skip", "max_skips": 2})
    trainer.bad = (0, 1)
    with pytest.raises(NonFiniteError, match="2 updates in a row"):
        trainer.run()


def test_ignore_goes_on():
    trainer = Spoilt({**QUIET, "on_nonfinite": "ignore"})
    trainer.bad = (1,)
    trainer.run()
    assert not torch.isfinite(weights(trainer)).any()


def returning(value: Any) -> type[TinyTrainer]:
    class Trainer(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            return value(*super().run_step(inputs))

    return Trainer


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda outputs, loss: loss, "return outputs, losses"),
        (lambda outputs, loss: (outputs, loss.item()), "must be a tensor"),
        (lambda outputs, loss: (outputs, {}), "empty dict"),
        (lambda outputs, loss: (outputs, {"a": loss, "b": outputs}), "the loss 'b'"),
        (lambda outputs, loss: (outputs, loss.detach()), "nothing can be learnt"),
    ],
)
def test_a_wrong_return_of_run_step_is_explained(value, message):
    with pytest.raises(UsageError, match=message):
        returning(value)(QUIET).run()


def test_tuples_lists_dicts_and_named_tuples_keep_their_type_on_the_way_to_the_device():
    from collections import namedtuple

    from basetrainer.utils.torch_tools import move_to_device

    Pair = namedtuple("Pair", "a b")
    batch = {"x": (torch.ones(1), [torch.ones(1), "name"]), "p": Pair(torch.ones(2), 3)}
    moved = move_to_device(batch, "meta")
    assert type(moved["x"]) is tuple
    assert type(moved["x"][1]) is list
    assert type(moved["p"]) is Pair
    assert moved["x"][1][1] == "name"
    assert moved["p"].a.device.type == "meta"


def test_channels_last_lays_out_images_and_weights():
    layouts = []

    class Images(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return [(torch.randn(2, 3, 4, 4), torch.tensor([0, 1]))]

        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            layers = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return self.build_model_parallel(layers)

        def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
            layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
            weight = self.model[0].weight
            layouts.append(weight.is_contiguous(memory_format=torch.channels_last))

    Images({**QUIET, "channels_last": True}, tests=False).run()
    assert layouts == [True, True]


@pytest.mark.slow
def test_compile_trains_and_keeps_the_keys():
    trainer = TinyTrainer({**QUIET, "compile": True})
    trainer.run()
    assert list(trainer.model.state_dict()) == ["weight", "bias"]


def test_deterministic_switches_torch_over_while_the_run_lasts():
    seen = []

    class Reader(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(torch.are_deterministic_algorithms_enabled())

    TinyTrainer({**QUIET, "deterministic": True}, [Reader()]).run()
    assert not torch.are_deterministic_algorithms_enabled()
    TinyTrainer(QUIET, [Reader()]).run()
    assert seen == [True] * 3 + [False] * 3


def test_an_overflow_in_fp16_leaves_the_update_out_and_goes_on():
    class Huge(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, loss * (1e6 if self.position.step == 1 else 1.0)

    trainer = Huge({**QUIET, "amp": "fp16"}, shuffle=False)
    trainer.run()
    assert torch.isfinite(weights(trainer)).all()
    assert trainer.position.update == 2  # of those that were taken


def test_parameters_that_no_loss_reaches_are_no_error_in_fp16():
    trainer = Gan({**QUIET, "amp": "fp16"}, tests=False)
    idle = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)

    class Idle(Gan):
        def train_step(self, inputs: Any) -> tuple[Any, Any]:
            outputs, losses = super().train_step(inputs)
            self._updater(idle).step()
            return outputs, losses

    Idle({**QUIET, "amp": "fp16"}, tests=False).run()
    trainer.run()


def test_several_optimizers_without_an_own_train_step_are_explained():
    class Pair(TinyTrainer):
        def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
            return {"only": torch.optim.SGD(self.model.parameters(), lr=0.1)}

    with pytest.raises(UsageError, match=r"Override train_step\(self, inputs\)"):
        Pair(QUIET).run()


def test_dict_batches_without_an_own_run_step_are_explained():
    class Dicts(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return [{"image": torch.ones(2, 3)}]

    with pytest.raises(UsageError, match=r"Override run_step\(self, inputs\)"):
        Dicts(QUIET, tests=False).run()


def test_device_may_be_set_by_name():
    trainer = TinyTrainer(QUIET)
    trainer.device = "cpu"
    trainer.run()
    assert trainer.device == torch.device("cpu")
