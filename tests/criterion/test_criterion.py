"""get_criterion and build_criterion: names, class weights, sums, and what is wrong with them."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basetrainer.criterion.criterion import LOSSES, ComposeLoss, build_criterion, get_criterion
from basetrainer.criterion.losses import FocalLoss
from basetrainer.errors import ConfigError, UnknownNameError, UsageError

logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3]])
labels = torch.tensor([0, 2])


class TwoParts(nn.Module):
    def forward(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"box": outputs.sum() * 0 + 2.0, "cls": outputs.sum() * 0 + 3.0}


def parameters_of(function: Any) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
    }


def test_the_signatures_are_the_old_ones() -> None:
    old = {"num_classes": None, "class_weight": None, "device": "cuda:0"}
    for function in (get_criterion, build_criterion):
        found = parameters_of(function)
        assert list(found)[:4] == ["loss_type", *old]
        assert {name: found[name] for name in old} == old
    assert list(parameters_of(ComposeLoss)) == ["criterions", "weights"]


@pytest.mark.parametrize("name", ["CELoss", "crossentropyloss", "L1LOSS", "mse"])
def test_the_old_names_work_in_any_case_on_a_machine_without_a_gpu(name: str) -> None:
    targets = labels if name.lower().startswith("c") else torch.zeros(2, 3)
    assert get_criterion(name)(logits, targets).isfinite()
    losses = build_criterion(name)(logits, targets)
    assert list(losses) == [name]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_name_makes_a_loss_that_pickles_and_copies(name: str) -> None:
    criterion = get_criterion(name, num_classes=3, class_weight=[1, 2, 3])
    assert isinstance(pickle.loads(pickle.dumps(criterion)), type(criterion))
    assert isinstance(copy.deepcopy(criterion), type(criterion))


@pytest.mark.parametrize("name", ["CELoss", "FocalLoss", "LabelSmoothing", "BCE", "Dice"])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_class_weight_may_be_a_list_an_array_or_a_tensor(name: str, kind: Any) -> None:
    criterion = get_criterion(name, 3, kind([1.0, 2.0, 0.5]))
    (weight,) = criterion.buffers()
    assert weight.tolist() == [1.0, 2.0, 0.5]
    assert weight.dtype == torch.float32
    assert criterion(logits, labels).isfinite()
    assert not torch.equal(criterion(logits, labels), get_criterion(name)(logits, labels))


def test_weights_follow_the_inputs_to_their_device() -> None:
    criterion = build_criterion("CELoss", 3, [1.0, 2.0, 0.5], device="cuda:0")
    assert next(criterion.buffers()).device.type == "cpu"
    criterion(logits, labels)
    assert criterion.double().get_buffer("parts.0.weight").dtype == torch.float64
    (part,) = criterion.parts
    for hook in part._forward_pre_hooks.values():  # computing on "meta" takes seconds to import
        hook(part, (logits.to("meta"), labels))
    assert next(criterion.buffers()).device.type == "meta"


def test_a_weight_that_has_no_effect_is_said(caplog: pytest.LogCaptureFixture) -> None:
    get_criterion("mse", class_weight=[1.0, 2.0])
    assert "'mse' does not tell classes apart: class_weight has no effect" in caplog.text


def test_alpha_and_class_weight_of_focal_loss_go_together_or_not_at_all() -> None:
    criterion = get_criterion("FocalLoss", 3, [1.0, 2.0, 4.0], alpha=0.25)
    assert isinstance(criterion, FocalLoss)
    assert criterion.alpha is not None
    assert criterion.alpha.tolist() == [0.25, 0.5, 1.0]
    with pytest.raises(ConfigError, match="both class_weight and an alpha for each class"):
        get_criterion("FocalLoss", 3, [1.0, 2.0, 4.0], alpha=[1.0, 1.0, 1.0])


def test_arguments_reach_their_loss() -> None:
    smoothed = get_criterion("CELoss", label_smoothing=0.2, ignore_index=7, gamma=None)
    assert isinstance(smoothed, nn.CrossEntropyLoss)
    assert (smoothed.label_smoothing, smoothed.ignore_index) == (0.2, 7)
    binary = get_criterion("BCE", pos_weight=[1.0, 2.0, 3.0])
    assert binary(logits, labels).isfinite()


def test_an_argument_of_another_loss_is_left_aside_with_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "basetrainer"):
        build_criterion(["CELoss", "FocalLoss"], gamma=3.0)
    assert "loss 'CELoss' does not use gamma" in caplog.text


@pytest.mark.parametrize(
    ("loss_type", "kwargs", "said"),
    [
        (["CELoss", "CELoss"], {}, "write the name of each loss once"),
        ([["CELoss"], 3], {}, r"as in \{CELoss: 1.0, Dice: 0.5\}"),
        ([], {}, "There is no loss to compute"),
        (3, {}, "Unknown loss 3. Known: bce"),
        ("CELoss", {"labelsmoothing": 0.1}, r"Did you mean 'label_smoothing'\?"),
        ("CELoss", {"weight": [1.0]}, r"weight=\[1.0\].*as class_weight"),
        ("CELoss", {"classweight": [1.0]}, r"Did you mean 'class_weight'\?"),
        (
            "CELoss",
            {"xyz": 1},
            "xyz=1, which no loss takes. 'CELoss' takes class_weight, ignore_index",
        ),
        ("CELoss", {"num_classes": 3, "class_weight": [1.0]}, "has 1 numbers.*num_classes=3"),
        ("CELoss", {"class_weight": [1.0, -1.0]}, "0 or more in one row"),
        ("CELoss", {"label_smoothing": 7}, "label_smoothing=7: write a number from 0 to 1"),
        ("LabelSmoothing", {"label_smoothing": "x"}, "label_smoothing='x'"),
        ("mse", {"reduction": "avg"}, "reduction='avg': write 'mean', 'sum' or 'none'"),
        ("SmoothL1", {"beta": -1}, "beta=-1: write 0"),
        (None, {}, "No loss is named. Known: bce"),
        ("FocalLoss", {"gamma": "2"}, r"refused {'gamma': '2'}"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(
    loss_type: Any, kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        get_criterion(loss_type, **kwargs)


@pytest.mark.parametrize("name", ["mse", "L1Loss", "SmoothL1"])
def test_numbers_of_another_shape_are_not_stretched_over_one_another(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"have \(2, 3\) and the targets \(2,\). For classes take CE"
    ):
        get_criterion(name)(logits, labels)
    with pytest.raises(UsageError, match=r"have \(2, 1\) and the targets \(2,\)"):
        build_criterion(name)(torch.zeros(2, 1), torch.zeros(2))


def test_outputs_that_are_no_tensor_are_named() -> None:
    with pytest.raises(UsageError, match=r"CrossEntropy.*the outputs are a tuple. Override run"):
        get_criterion("CELoss")((logits, logits), labels)
    with pytest.raises(UsageError, match=r"FocalLoss.*the targets are a list"):
        get_criterion("FocalLoss")(logits, [0, 2])


def test_an_unknown_loss_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'FocalLos'. Did you mean 'focalloss'"):
        build_criterion("FocalLos")


def test_a_sum_of_losses_is_a_dict_of_weighted_ones() -> None:
    losses = build_criterion({"CELoss": 2.0, "FocalLoss": 0.5}, gamma=0.0)(logits, labels)
    expected = nn.CrossEntropyLoss()(logits, labels)
    assert list(losses) == ["CELoss", "FocalLoss"]
    torch.testing.assert_close(losses["CELoss"], 2 * expected)
    torch.testing.assert_close(losses["FocalLoss"], 0.5 * expected)
    listed = get_criterion(["CELoss", "FocalLoss"])
    assert isinstance(listed, ComposeLoss)
    assert listed.weights == {"CELoss": 1.0, "FocalLoss": 1.0}
    assert list(listed.criterions) == ["CELoss", "FocalLoss"]
    assert "CELoss: 1, FocalLoss: 1" in repr(listed)


def test_a_loss_that_is_a_dict_erases_no_other() -> None:
    criterion = ComposeLoss(
        {"ce": nn.CrossEntropyLoss(), "parts": TwoParts(), "a.b": nn.CrossEntropyLoss()},
        {"ce": 1.0, "parts": 0.5, "a.b": 1.0},
    )
    losses = criterion(logits, labels)
    assert list(losses) == ["ce", "parts.box", "parts.cls", "a.b"]
    assert (losses["parts.box"].item(), losses["parts.cls"].item()) == (1.0, 1.5)


def test_two_losses_of_one_name_are_refused() -> None:
    criterion = ComposeLoss({"parts": TwoParts(), "parts.box": nn.CrossEntropyLoss()})
    with pytest.raises(UsageError, match=r"Two losses are called 'parts.box'"):
        criterion(logits, labels)


def test_parameters_and_buffers_of_its_losses_are_its_own() -> None:
    learnt = nn.Module()
    learnt.center = nn.Parameter(torch.zeros(3))
    criterion = ComposeLoss(
        {"center": learnt, "ce": nn.CrossEntropyLoss(weight=torch.ones(3)), "f": torch.dist}
    )
    assert list(criterion.state_dict()) == ["parts.0.center", "parts.1.weight"]
    assert len(list(criterion.parameters())) == 1
    assert ComposeLoss({"f": torch.dist})(logits, logits)["f"].item() == 0.0


def test_a_loss_that_returns_something_else_is_named() -> None:
    criterion = ComposeLoss({"odd": lambda outputs, targets: (outputs, targets)})
    with pytest.raises(UsageError, match="Loss 'odd' returned a tuple"):
        criterion(logits, labels)


@pytest.mark.parametrize(
    ("criterions", "weights", "said"),
    [
        ({}, None, "There is no loss to compute"),
        ({"a": torch.dist}, {"b": 1.0}, r"losses are \['a'\], but the weights are of \['b'\]"),
        ({"a": torch.dist}, {"a": "1"}, "weight of loss 'a' is '1'"),
        ({"a": torch.dist}, {"a": float("nan")}, "weight of loss 'a' is nan"),
    ],
)
def test_weights_that_do_not_fit_are_refused(criterions: Any, weights: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ComposeLoss(criterions, weights)
