"""State of any kind that torch allows: a run that is stopped and resumed ends with the same."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable as Function
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.run_folder import checkpoint_paths
from basetrainer.engine.resume.state import collect
from basetrainer.errors import UsageError
from tests.tiny import StopAt, TinyTrainer
from tests.trees import assert_same

CFG: dict[str, Any] = {"num_epochs": 3, "progress": False, "resume": "auto"}


class Trainer(TinyTrainer):
    def __init__(self, folder: str, *callbacks: Callback, **parts: Any) -> None:
        cfg = {**CFG, "work_dir": folder, **parts.pop("cfg", {})}
        super().__init__(cfg, [*callbacks, LossesRecorder()], **parts)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        torch.manual_seed(3)
        return self.build_model_parallel(self.parts["net"]())

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        make = self.parts.get("optimizer") or _sgd
        return make(self)


def _sgd(trainer: Any) -> torch.optim.Optimizer:
    learned = [one for one in trainer.model.parameters() if one.requires_grad]
    return torch.optim.SGD(learned, lr=0.1, momentum=0.9)


def check(stop: int, callbacks: Function[[], list[Callback]] = list, **parts: Any) -> Any:
    """Compare a whole run with one that was stopped after ``stop`` batches; 9 are the whole."""
    whole = Trainer("whole", *callbacks(), **parts)
    expected = collect(whole, whole.run())
    Trainer("pieces", *callbacks(), StopAt(stop), **parts).run()
    assert checkpoint_paths(Path("pieces/checkpoints"))
    rest = Trainer("pieces", *callbacks(), **parts)
    found = collect(rest, rest.run())
    assert_same(found, expected)
    return rest


class Linear(nn.Module):
    """Three classes of three numbers; a subclass adds state."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.add()

    def add(self) -> None:
        """Register what a case is about."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)  # type: ignore[no-any-return]


class Constants(Linear):
    smallest: Tensor

    def add(self) -> None:
        self.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))
        self.register_buffer("unseen", torch.full((2,), float("nan")))
        self.register_buffer("smallest", torch.tensor(float("inf")))
        self.register_buffer("switch", torch.tensor([True, False]))
        self.register_buffer("count", torch.tensor(2**40))
        self.register_buffer("octets", torch.tensor([1, 255], dtype=torch.uint8))
        self.register_buffer("words", torch.tensor([1, 2], dtype=torch.uint16))
        self.register_buffer("quad", torch.tensor([1], dtype=torch.uint32))
        self.register_buffer("small", torch.ones(2).to(torch.float8_e4m3fn))
        self.register_buffer("brain", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("precise", torch.ones(2, dtype=torch.float64))
        self.register_buffer("wave", torch.tensor([1 + 2j]))
        self.register_buffer("conjugate", torch.tensor([1 + 2j]).conj())
        self.register_buffer("nothing", torch.zeros(0, 3))
        self.register_buffer("none", None)
        self.register_buffer("repeated", torch.ones(1).expand(4))
        self.register_buffer("turned", torch.arange(6.0).view(2, 3).t())
        self.register_buffer("part", torch.arange(6.0)[2:4])
        self.register_buffer("temporary", torch.ones(1), persistent=False)
        self.frozen = nn.Parameter(torch.tensor([float("-inf")]), requires_grad=False)
        self.number = nn.Parameter(torch.tensor([3]), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        self.smallest = torch.minimum(self.smallest, x.min())
        return super().forward(x)


def _doubled() -> Tensor:
    places, values = torch.tensor([[0, 0]]), torch.tensor([1.0, 2.0])
    return torch.sparse_coo_tensor(places, values, (2,), check_invariants=True)


class Sparse(Linear):
    pairs: Tensor

    def add(self) -> None:
        self.register_buffer("pairs", torch.eye(3).to_sparse())
        self.register_buffer("doubled", _doubled())

    def forward(self, x: Tensor) -> Tensor:
        self.pairs = self.pairs * 1.5
        return super().forward(x @ self.pairs.to_dense())


class Views(Linear):
    first: Tensor

    def add(self) -> None:
        both = torch.arange(4.0)
        self.register_buffer("all", both)
        self.register_buffer("first", both[:2])
        self.register_buffer("again", both)
        self.tied = self.head

    def forward(self, x: Tensor) -> Tensor:
        self.first.add_(1.0)
        return super().forward(x)


class Bank(Linear):
    bank: Tensor
    scale: Tensor | None
    typed: Tensor
    given_up: Tensor | None

    def add(self) -> None:
        self.register_buffer("bank", torch.zeros(0, 3))
        self.register_buffer("scale", None)
        self.register_buffer("given_up", torch.ones(2))
        self.register_buffer("typed", torch.ones(2))
        self.register_buffer("wild", torch.zeros(2))
        self.plain = None
        self.inner = nn.Sequential(nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        if self.training:
            self.bank = torch.cat([self.bank, outputs.detach()])[-11:]
            self.scale = torch.ones(3) if self.scale is None else self.scale * 1.01
            self.typed = self.typed.double() + 1e-12
            self.given_up = None
            self.wild = torch.full((2,), float("-inf"))
            if not hasattr(self.inner[0], "late"):
                self.inner[0].register_buffer("late", torch.zeros(1))
                del self.plain
                self.register_buffer("plain", torch.ones(1))
            self.inner.get_buffer("0.late").add_(1)
        return outputs * (1.0 if self.scale is None else self.scale)


class Wave(Linear):
    def add(self) -> None:
        self.wave = nn.Parameter(torch.ones(2, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.fft.irfft(torch.fft.rfft(x) * self.wave, 3))


class Extra(Linear):
    def add(self) -> None:
        self.seen: Any = {"shapes": Counter(), "sum": np.zeros(2), "where": Path("a/b")}

    def forward(self, x: Tensor) -> Tensor:
        self.seen["shapes"][tuple(x.shape)] += 1
        self.seen["sum"] += 1
        return super().forward(x)

    def get_extra_state(self) -> Any:
        return self.seen

    def set_extra_state(self, state: Any) -> None:
        assert isinstance(state["where"], Path)
        self.seen = state


class BiasAtLast(Linear):
    """A running mean that is assigned, not changed in place."""

    running_mean: Tensor

    def add(self) -> None:
        self.register_buffer("running_mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        if self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * outputs.detach().mean(0)
        return outputs


def _sequence(*layers: Any) -> Function[[], nn.Module]:
    return lambda: nn.Sequential(*(layer() for layer in layers))


NETS: dict[str, Function[[], nn.Module]] = {
    "constants": Constants,
    "sparse": Sparse,
    "views": Views,
    "bank": Bank,
    "complex": Wave,
    "extra": Extra,
    "assigned statistics": BiasAtLast,
    "lazy": _sequence(lambda: nn.LazyLinear(4), nn.LazyBatchNorm1d, lambda: nn.LazyLinear(3)),
    "no statistics": _sequence(
        lambda: nn.Linear(3, 3), lambda: nn.BatchNorm1d(3, track_running_stats=False)
    ),
    "weight norm": _sequence(lambda: parametrizations.weight_norm(nn.Linear(3, 3))),
    "spectral norm": _sequence(lambda: parametrizations.spectral_norm(nn.Linear(3, 3))),
    "orthogonal": _sequence(lambda: parametrizations.orthogonal(nn.Linear(3, 3))),
}


@pytest.mark.parametrize("cfg", [{}, {"ema_decay": 0.5}], ids=["plain", "ema"])
@pytest.mark.parametrize("name", NETS)
def test_a_network_with_odd_state_ends_as_if_nobody_had_stopped_it(name, cfg):
    check(4, net=NETS[name], cfg=cfg)


@pytest.mark.parametrize("stop", [1, 3, 9])
def test_buffers_that_grow_are_restored_wherever_the_run_was_stopped(stop):
    check(stop, net=Bank)


def _options(kind: Any, **options: Any) -> Function[[Any], Any]:
    return lambda trainer: kind(trainer.model.parameters(), **options)


def _named(trainer: Any) -> Any:
    named = dict(trainer.model.named_parameters())
    groups = [
        {"params": [("w", named["head.weight"])], "lr": torch.tensor(0.05)},
        {"params": [("b", named["head.bias"])], "weight_decay": 0.1},
    ]
    return torch.optim.AdamW(groups, lr=torch.tensor(0.1), foreach=False)


OPTIMIZERS: dict[str, Function[[Any], Any]] = {
    **{
        kind.__name__: _options(kind, lr=0.01)
        for kind in (
            *(torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW),
            *(torch.optim.Adamax, torch.optim.ASGD, torch.optim.NAdam, torch.optim.RAdam),
            *(torch.optim.RMSprop, torch.optim.Rprop, torch.optim.SGD, torch.optim.Adafactor),
        )
    },
    "amsgrad": _options(torch.optim.Adam, lr=0.01, amsgrad=True),
    "named groups, rates in tensors": _named,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_with_the_same_bits(name):
    check(4, net=Linear, optimizer=OPTIMIZERS[name])


class ClosureTrainer(Trainer):
    def train_step(self, inputs: Any) -> Any:
        def closure() -> Any:
            self.optimizer.zero_grad()
            self.found = self.run_step(inputs)
            self.found[1].backward()
            return self.found[1]

        self.optimizer.step(closure)
        return self.found


def test_lbfgs_goes_on_with_its_history():
    parts: dict[str, Any] = {"net": Linear, "optimizer": _options(torch.optim.LBFGS, max_iter=2)}
    whole = ClosureTrainer("whole", **parts)
    expected = collect(whole, whole.run())
    ClosureTrainer("pieces", StopAt(4), **parts).run()
    rest = ClosureTrainer("pieces", **parts)
    assert_same(collect(rest, rest.run()), expected)


class Unfreeze(Callback):
    """Unfreezes the first layer in the second epoch, and gives it a group of its own."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            assert self.engine is not None
            first = self.engine.model[0]
            first.requires_grad_(True)
            self.engine.optimizer.add_param_group({"params": list(first.parameters()), "lr": 0.01})


def _half_frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    net[0].requires_grad_(False)
    return net


@pytest.mark.parametrize("cfg", [{}, {"ema_decay": 0.5}], ids=["plain", "ema"])
@pytest.mark.parametrize("stop", [2, 3, 4, 6, 8])
def test_layers_that_were_unfrozen_and_their_group_come_back(stop, cfg):
    rest = check(stop, lambda: [Unfreeze()], net=_half_frozen, cfg=cfg)
    assert [group["lr"] for group in rest.optimizer.param_groups] == [0.1, 0.01]


class Regroup(Callback):
    """Adds a group when the run begins, each time it does."""

    def on_train_begin(self, logs: Any = None) -> None:
        assert self.engine is not None
        self.engine.optimizer.add_param_group({"params": [self.engine.model[2].bias], "lr": 0.5})


@pytest.mark.parametrize("stop", [3, 4])
def test_a_group_that_is_added_at_each_begin_is_not_added_twice(stop):
    def weights(trainer: Any) -> Any:
        return torch.optim.SGD(
            [trainer.model[0].weight, trainer.model[2].weight], lr=0.1, momentum=0.9
        )

    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))

    check(stop, lambda: [Regroup()], net=net, optimizer=weights)


class Learnt(nn.CrossEntropyLoss):
    """A criterion that learns, counts and keeps a growing buffer."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__(weight=torch.tensor([1.0, 2.0, 3.0]))
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, outputs: Any, targets: Any) -> Any:
        if self.training:
            self.seen = torch.cat([self.seen, outputs.detach()[:1, 0]])
        return super().forward(outputs * self.scale, targets)


def test_a_criterion_with_parameters_and_a_growing_buffer_goes_on():
    def both(trainer: Any) -> Any:
        parameters = [*trainer.model.parameters(), *trainer.criterion.parameters()]
        return torch.optim.Adam(parameters, lr=0.1)

    parts: dict[str, Any] = {"net": Linear, "optimizer": both}
    whole = Trainer("whole", criterion=Learnt(), **parts)
    expected = collect(whole, whole.run())
    Trainer("pieces", StopAt(4), criterion=Learnt(), **parts).run()
    rest = Trainer("pieces", criterion=Learnt(), **parts)
    assert_same(collect(rest, rest.run()), expected)
    assert rest.criterion.seen.numel() > 4


class Keeper(Callback):
    """Keeps values of many types."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Any, Any] = {
            "set": {1, "a", (2, 3)},
            "odd set": {np.int64(1), frozenset({2})},
            "array": np.zeros((2, 3), order="F"),
            "number": np.float32(1.5),
            "path": Path("a/b"),
            "queue": deque([1, 2], maxlen=3),
            "counter": Counter("aab"),
            "lists": defaultdict(list, {"a": [1]}),
            "ordered": OrderedDict([(np.int64(3), 1), ("x", np.int8(2))]),
            "bytes": b"\0x",
            "draws": np.random.default_rng(3),
            "generator": torch.Generator().manual_seed(5),
            "keys": {Path("k"): range(3)},
        }

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.kept["queue"].append(float(self.kept["draws"].random()))
        self.kept["array"] += 1
        self.kept["lists"]["b"].append(torch.rand((), generator=self.kept["generator"]).item())

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert {key: type(one) for key, one in self.kept.items()} == {
            key: type(one) for key, one in state["kept"].items()
        }
        self.kept = state["kept"]


def test_a_callback_may_keep_values_of_the_standard_library_and_numpy():
    check(4, lambda: [Keeper()], net=Linear)


class Late(Callback):
    """Makes what it saves when the training begins, as one does with a scheduler of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: dict[str, Any] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        assert self.engine is not None
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.engine.optimizer, 1, 0.5)
        if self.saved is not None:
            self.scheduler.load_state_dict(self.saved)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.saved = state


def test_a_callback_may_make_its_state_when_training_begins():
    check(3, lambda: [Late()], net=Linear)


def test_what_could_not_be_loaded_again_is_refused_before_the_first_step_with_its_path():
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"history": [1, {"net": nn.Linear(1, 1)}]}

    trainer = Trainer("run", Odd(), net=Linear)
    with pytest.raises(UsageError, match=r"callbacks/0, Odd.*\['history'\]\[1\]\['net'\]") as found:
        trainer.run()
    assert "Write x.state_dict() in its place" in str(found.value)
    assert trainer.position.update == 0


def test_an_extra_state_of_a_class_is_refused_before_the_first_step():
    class Own(Linear):
        def get_extra_state(self) -> Any:
            return object()

        def set_extra_state(self, state: Any) -> None:
            raise AssertionError

    with pytest.raises(UsageError, match="_extra_state of Own is a object, so it could not be"):
        Trainer("run", net=Own).run()


class Spoil(Callback):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        assert self.engine is not None
        self.engine.model.state_dict()[self.name].fill_(float("nan"))


@pytest.mark.parametrize("name", ["0.running_mean", "1.weight"])
def test_running_statistics_and_what_learns_must_be_finite_to_be_saved(name, caplog):
    def net() -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))

    cfg = {"on_nonfinite": "ignore", "num_epochs": 1}
    Trainer("run", Spoil(name), net=net, cfg=cfg).run()
    assert "is not saved: its weights are NaN or infinite" in caplog.text
    assert not checkpoint_paths(Path("run/checkpoints"))


def test_the_best_weights_of_a_network_with_a_mask_and_a_bank_are_loaded_into_a_fresh_one():
    class Saving(Trainer):
        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            folder = Path(cfg["work_dir"], "model")
            saver = ModelCheckpoint(self.model, self.optimizer, folder, 3, -1, indicator="loss")
            return [*super().build_callbacks(cfg), saver]

    for net in (Bank, Constants, Extra):
        first = Saving(net.__name__, net=net)
        first.run()
        saver = first.callbacks[-1]
        assert isinstance(saver, ModelCheckpoint)
        assert saver.best_model is not None
        again = Saving("other", net=net, cfg={"resume": "never"})
        again.test(saver.best_model)
        assert again.model.state_dict().keys() == first.model.state_dict().keys()
