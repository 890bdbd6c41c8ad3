"""get_optimizer: names, groups, implementations, and what is wrong with arguments."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError, UnknownNameError, UsageError
from basetrainer.optimizer.build_optimizer import OPTIMIZERS, get_optimizer


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc(self.bn1(self.conv1(x)).mean((2, 3)))
        return y


class Wrapper(nn.Module):
    def __init__(self, name: str, model: nn.Module) -> None:
        super().__init__()
        self.add_module(name, model)


def members(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def test_the_signature_is_the_old_one() -> None:
    names = list(inspect.signature(get_optimizer).parameters)
    assert names[:5] == ["model", "parameters", "optim_type", "lr", "split_params"]
    defaults = [inspect.signature(get_optimizer).parameters[name].default for name in names[2:5]]
    assert defaults == ["SGD", 0.01, False]


def test_it_is_called_as_old_programs_do() -> None:
    optimizer = get_optimizer(Net(), optim_type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert type(optimizer) is torch.optim.SGD
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 5e-4)
    assert len(group["params"]) == 6


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_of_torch_learns(name: str) -> None:
    model: nn.Module = Net()
    inputs, lr = torch.randn(8, 3, 3, 3), 1.0 if name == "adadelta" else 0.01
    if name == "muon":
        model = nn.Linear(4, 2, bias=False)
        inputs = torch.randn(8, 4)
    if name == "sparseadam":
        model = nn.Embedding(8, 2, sparse=True)
        inputs = torch.arange(8)
    optimizer = get_optimizer(
        model, optim_type=name.upper(), lr=lr, momentum=0.9, weight_decay=1e-4
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss: torch.Tensor = (model(inputs) - 1).square().mean()
        loss.backward()
        return float(loss.detach())

    first = closure()
    for _ in range(30):
        optimizer.step(closure) if name == "lbfgs" else (closure(), optimizer.step())
    assert closure() < first


def test_an_argument_of_another_optimizer_is_left_aside_with_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "basetrainer"):
        get_optimizer(Net(), optim_type="Adam", momentum=0.9, weight_decay=0.1, alpha=None)
    assert "optimizer Adam does not use momentum=0.9" in caplog.text
    assert "alpha" not in caplog.text


def test_a_step_of_lbfgs_without_a_closure_says_what_to_do() -> None:
    optimizer = get_optimizer(Net(), optim_type="LBFGS", split_params=True)
    with pytest.raises(UsageError, match=r"needs a closure.*Override train_step"):
        optimizer.step()


def test_sparse_adam_without_a_sparse_embedding_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sparse=True\).*the model has none. Take 'adam'"):
        get_optimizer(Net(), optim_type="SparseAdam")


def test_what_is_not_given_has_torchs_default() -> None:
    assert get_optimizer(Net(), optim_type="AdamW").defaults["weight_decay"] == 0.01
    assert get_optimizer(Net(), optim_type="SGD").param_groups[0]["weight_decay"] == 0


def test_lists_from_yaml_are_tuples_for_torch() -> None:
    optimizer = get_optimizer(Net(), optim_type="adam", betas=[0.8, 0.9])
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize("weight_decay", [None, 0.05])
def test_split_parameters_do_not_decay_whatever_the_optimizers_default(
    name: str, weight_decay: float | None
) -> None:
    model = Net()
    optimizer = get_optimizer(model, optim_type=name, split_params=True, weight_decay=weight_decay)
    exempt, decaying = optimizer.param_groups
    assert exempt["weight_decay"] == 0.0
    default = {"SGD": 0.0, "AdamW": 0.01}[name]
    assert decaying["weight_decay"] == (default if weight_decay is None else weight_decay)
    assert {id(one) for one in decaying["params"]} == {id(model.conv1.weight), id(model.fc.weight)}
    assert len(exempt["params"]) == 4


def test_weights_that_do_not_decay_stay_without_a_gradient() -> None:
    model = Net()
    optimizer = get_optimizer(model, optim_type="AdamW", lr=0.1, split_params=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer.step()
    changed = {name for name, value in model.named_parameters() if not value.equal(before[name])}
    assert changed == {"conv1.weight", "fc.weight"}


def test_extra_parameters_join_once_and_split_too() -> None:
    model, center, own = Net(), nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3))
    frozen = nn.Parameter(torch.ones(3), requires_grad=False)
    extra = [center, center, model.fc.weight, frozen, {"params": [own, center], "lr": 0.7}]
    optimizer = get_optimizer(model, extra, lr=0.1, split_params=True, weight_decay=0.1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 3, 1]
    assert optimizer.param_groups[1]["params"][-1] is center
    assert optimizer.param_groups[2]["lr"] == 0.7


def test_frozen_parameters_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    model = Net()
    model.conv1.requires_grad_(False)
    with caplog.at_level(logging.DEBUG, "basetrainer"):
        optimizer = get_optimizer(model)
    assert len(members(optimizer)) == 4
    assert "2 frozen ones left out" in caplog.text


def test_a_wrapped_model_is_seen_through() -> None:
    model = Net()
    model.__dict__["module"] = model  # the engine's alias on one device
    for one in (model, Wrapper("module", model), Wrapper("_orig_mod", model)):
        optimizer = get_optimizer(one, lr=0.1, backbone_lr=0.01)
        assert [len(group["params"]) for group in optimizer.param_groups] == [2, 4]
    both = nn.ModuleDict({"module": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    assert len(members(get_optimizer(both))) == 4


def test_the_backbone_may_have_a_learning_rate_of_its_own() -> None:
    model = Net()
    head, backbone = get_optimizer(model, lr=0.1, backbone_lr=0.01).param_groups
    assert (head["lr"], backbone["lr"]) == (0.1, 0.01)
    assert head["params"] == list(model.fc.parameters())
    first, rest = get_optimizer(model, lr=0.1, backbone_lr=0.5, head="conv1").param_groups
    assert (first["lr"], len(first["params"])) == (0.5, 4)
    assert rest["params"] == list(model.conv1.parameters())


def test_each_layer_may_learn_slower_than_the_next() -> None:
    optimizer = get_optimizer(Net(), lr=0.1, backbone_lr=0.04, layer_decay=0.5)
    assert [(group["lr"], len(group["params"])) for group in optimizer.param_groups] == [
        (0.1, 2),
        (0.02, 4),
    ]


def test_the_schedule_keeps_these_rates_in_proportion() -> None:
    from basetrainer.scheduler.build_scheduler import get_scheduler

    optimizer = get_optimizer(Net(), lr=0.1, backbone_lr=0.01)
    get_scheduler("linear", optimizer, 0.1, 2, 1).step(1, 0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005])


def step_on(optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_the_fused_default_agrees_with_torchs_plain_loop(name: str) -> None:
    results = []
    choices: list[dict[str, Any]] = [{}, {"fused": False, "foreach": False}]
    for kwargs in choices:
        torch.manual_seed(0)
        model = Net()
        optimizer = get_optimizer(
            model, optim_type=name, lr=0.01, momentum=0.9, weight_decay=0.01, **kwargs
        )
        assert optimizer.defaults["fused"] is (not kwargs)
        results.append(step_on(optimizer, model))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "kwargs", "fused"),
    [
        (Net(), {}, True),
        (Net(), {"fused": False}, False),
        (Net(), {"foreach": True}, None),
        (Net(), {"differentiable": True}, None),
        (Net().half(), {}, None),
        (nn.Embedding(3, 2, sparse=True), {}, None),
        (nn.Linear(3, 2, device="meta"), {}, None),
    ],
)
def test_the_implementation_is_the_users_choice_or_one_that_works(
    model: nn.Module, kwargs: dict[str, Any], fused: bool | None
) -> None:
    assert get_optimizer(model, **kwargs).defaults["fused"] is fused


def test_a_learning_rate_may_be_a_tensor_of_each_group() -> None:
    optimizer = get_optimizer(Net(), optim_type="adam", lr=torch.tensor(0.1), backbone_lr=0.01)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert all(isinstance(rate, torch.Tensor) for rate in rates)
    assert [rate.item() for rate in rates] == pytest.approx([0.1, 0.01])


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"lr": "1e-3"}, "lr='1e-3' is no number that is 0 or more"),
        ({"lr": -1.0}, "lr=-1.0 is no number"),
        ({"lr": float("nan")}, "lr=nan is no number"),
        ({"backbone_lr": True}, "backbone_lr=True is no number"),
        ({"layer_decay": 0}, "layer_decay=0 is no number that is above 0 and at most 1"),
        ({"layer_decay": 1.1}, "layer_decay=1.1"),
        ({"weightdecay": 0.1}, r"weightdecay=0.1, which no.*Did you mean 'weight_decay'\?"),
        ({"xyz": 0.1}, r"xyz=0.1, which no optimizer takes. 'SGD' takes dampening"),
        ({"momentum": "0.9"}, r"torch.optim.SGD refused lr=0.01, momentum='0.9'"),
        ({"momentum": -1.0}, "Invalid momentum value"),
        ({"optim_type": "Muon"}, "Muon trains matrices alone"),
        ({"backbone_lr": 0.1, "head": "top"}, "no parameter matches head='top'.*conv1, bn1, fc"),
        ({"backbone_lr": 0.1, "head": "*"}, "every parameter matches"),
        ({"parameters": [3]}, "parameters has a int in it"),
        ({"parameters": [nn.Linear(1, 1)]}, "parameters has a Linear in it"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        get_optimizer(Net(), **kwargs)


def test_an_unknown_optimizer_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'adamv'. Did you mean 'adam"):
        get_optimizer(Net(), optim_type="adamv")


@pytest.mark.parametrize("model", [Net().requires_grad_(False), nn.ReLU()])
def test_nothing_to_train_is_refused(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        get_optimizer(model)
