"""get_optimizer: from an optimizer's name and a model to the optimizer."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from basetrainer._names import lookup, own_arguments
from basetrainer.errors import ConfigError, UsageError
from basetrainer.optimizer.param_groups import (
    HEAD,
    Entry,
    extra_groups,
    group_by,
    learning_rates,
    trainable,
)

logger = logging.getLogger(__name__)

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): one
    for name, one in vars(torch.optim).items()
    if inspect.isclass(one) and issubclass(one, Optimizer) and one is not Optimizer
}
"""Every optimizer of ``torch.optim`` by its name, in lower case."""

_COMMON = {"self", "params", "lr"}
_IMPLEMENTATION = ("foreach", "fused", "differentiable", "capturable")


def get_optimizer(
    model: nn.Module,
    parameters: Iterable[Any] | None = None,
    optim_type: str = "SGD",
    lr: float | Tensor = 0.01,
    split_params: bool = False,
    *,
    backbone_lr: float | None = None,
    layer_decay: float = 1.0,
    head: str | Sequence[str] = HEAD,
    lr_scale: Mapping[str, float] | None = None,
    **kwargs: Any,
) -> Optimizer:
    """Return an optimizer of the model's trainable parameters, each once.

    Parameters frozen now are left out: make the optimizer after freezing. What is trained from a
    later epoch on is added by :class:`~basetrainer.callbacks.unfreeze.Unfreeze`. Groups come with
    the highest learning rate first, so that group 0, which ``logs["lr"]`` shows, is the head's.

    Args:
        model: The model, wrapped or not.
        parameters: More of them, of a criterion for example: tensors, or groups as torch's
            optimizers take them.
        optim_type: The name of any optimizer of ``torch.optim``, in any letter case.
        lr: Learning rate.
        split_params: No weight decay for norms, biases, scales and other vectors.
        backbone_lr: Learning rate of all but the head; ``lr`` is then the head's.
        layer_decay: Learning rate of each layer over that of the next one towards the output,
            above 0 and at most 1; 0.75 is usual for fine-tuning transformers.
        head: Name patterns of the head's modules, for ``backbone_lr``.
        lr_scale: Factors of the learning rate by name patterns, such as ``{"layer[12]": 0.1}``, on
            top of the others; of several that match, the last one counts. None is no factor.
        **kwargs: What the optimizer takes: ``weight_decay``, ``momentum``, ``betas``, and so on;
            what is not given, or None, has torch's default. An argument that only other optimizers
            take is left aside, with a line in the log. Unless ``fused`` or ``foreach`` is given,
            the fused implementation is used on the CPU, where there is one: the fastest, and equal
            to torch's plain loop but for rounding. On other devices torch chooses.

    Raises:
        UnknownNameError: If there is no such optimizer.
        ConfigError: If the model is none, an argument is out of range or known to no optimizer, or
            nothing is trainable.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model is a {type(model).__name__}. Give the network itself; what else is to be "
            f"trained goes into parameters."
        )
    factory = lookup("optimizer", optim_type, OPTIMIZERS)
    for name, rate in (("lr", lr), ("backbone_lr", backbone_lr)):
        if rate is not None or name == "lr":
            _check(name, rate, "0 or more", rate_ok=lambda value: value >= 0)
    _check(
        "layer_decay", layer_decay, "above 0 and at most 1", rate_ok=lambda value: 0 < value <= 1
    )
    for pattern, scale in _checked_scales(lr_scale).items():
        _check(f"lr_scale[{pattern!r}]", scale, "above 0", rate_ok=lambda value: value > 0)
    options = _own_options(factory, kwargs)
    if factory is torch.optim.SparseAdam and not _has_sparse(model):
        raise ConfigError(
            "SparseAdam trains embeddings with sparse gradients (nn.Embedding(..., sparse=True)) "
            "alone, and the model has none. Take 'adam'."
        )
    entries = trainable(model)
    rates = learning_rates(
        entries,
        float(lr),
        backbone_lr=backbone_lr,
        layer_decay=layer_decay,
        head=head,
        lr_scale=lr_scale,
    )
    loose, own_groups = extra_groups(parameters or (), [entry.parameter for entry in entries])
    entries += [Entry("", parameter, nn.Module(), 0) for parameter in loose]
    rates += [float(lr)] * len(loose)
    can_split = split_params and "weight_decay" in _arguments(factory)
    groups = group_by(entries, rates, options.get("weight_decay"), split=can_split) + own_groups
    if not groups:
        raise ConfigError(
            "The model has no parameter that requires a gradient: nothing to train. Is everything "
            "frozen, or the model empty?"
        )
    if isinstance(lr, Tensor):  # a captured or compiled step reads its learning rate from a tensor
        for group in groups:
            group["lr"] = lr.new_tensor(float(group.get("lr", lr)))
    if not options.keys() & _IMPLEMENTATION:
        options |= _fastest(factory, model, groups)
    return _make(factory, groups, lr, options)


def _checked_scales(lr_scale: Any) -> Mapping[str, Any]:
    if lr_scale is not None and not isinstance(lr_scale, Mapping):
        raise ConfigError(
            f"lr_scale={lr_scale!r} is no mapping of patterns to factors. Write one, such as "
            f"{{'layer[12]': 0.1}}."
        )
    return lr_scale or {}


def _arguments(factory: type[Optimizer]) -> set[str]:
    return set(inspect.signature(factory.__init__).parameters) - _COMMON


def _own_options(factory: type[Optimizer], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that this optimizer takes; refuse those that none does."""
    known = set().union(*(_arguments(one) for one in OPTIMIZERS.values()))
    options, unused = own_arguments(
        "optimizer", factory.__name__, kwargs, _arguments(factory), known
    )
    if unused:
        logger.info("optimizer %s does not use %s", factory.__name__, unused)
    # YAML has lists where torch documents tuples.
    return {name: tuple(one) if isinstance(one, list) else one for name, one in options.items()}


def _fastest(
    factory: type[Optimizer], model: nn.Module, groups: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the implementation to ask for; nothing leaves the choice to torch."""
    if "fused" not in _arguments(factory):
        return {}
    parameters = [parameter for group in groups for parameter in group["params"]]
    is_plain = all(
        parameter.device.type == "cpu" and parameter.dtype in (torch.float32, torch.float64)
        for parameter in parameters
    )
    # The fused kernels refuse sparse gradients.
    return {"fused": True} if is_plain and not _has_sparse(model) else {}


def _has_sparse(model: nn.Module) -> bool:
    """Whether there is an embedding whose gradients are sparse."""
    return any(getattr(module, "sparse", False) is True for module in model.modules())


def _make(
    factory: type[Optimizer], groups: list[dict[str, Any]], lr: float | Tensor, options: Any
) -> Optimizer:
    """Call torch's optimizer; what it refuses becomes a ConfigError."""
    make = cast("Callable[..., Optimizer]", factory)
    try:
        optimizer = make(groups, lr=lr, **options)
    except (TypeError, ValueError) as error:
        hint = ""
        if issubclass(factory, torch.optim.Muon):
            hint = " Muon trains matrices alone: give vectors, and often the head, to AdamW."
        given = ", ".join(f"{name}={value!r}" for name, value in {"lr": lr, **options}.items())
        reason = str(error).rstrip(".")
        raise ConfigError(
            f"torch.optim.{factory.__name__} refused {given}: {reason}.{hint}"
        ) from error
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer.register_step_pre_hook(_need_closure)
    return optimizer


def _need_closure(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse a step of LBFGS as the engine makes it."""
    if len(args) < 2 and "closure" not in kwargs:
        raise UsageError(
            "LBFGS.step needs a closure that computes the loss again, which the engine does not "
            "give. Override train_step(self, inputs), or take another optimizer."
        )


def _check(name: str, value: Any, allowed: str, rate_ok: Callable[[float], bool]) -> None:
    """Refuse what is no number, or out of range."""
    is_number = isinstance(value, (Real, Tensor)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not rate_ok(float(value)):
        raise ConfigError(f"{name}={value!r} is no number that is {allowed}. Write one, like 0.01.")
