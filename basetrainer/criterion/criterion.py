"""get_criterion and build_criterion: from the names of losses to a module that computes them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer._names import lookup, own_arguments
from basetrainer.criterion.checks import check_classes, check_inputs, check_options
from basetrainer.criterion.compose import ComposeLoss
from basetrainer.criterion.losses import BCEWithLogits, DiceLoss, FocalLoss, LabelSmoothing
from basetrainer.criterion.weights import as_weight
from basetrainer.errors import ConfigError

__all__ = ["LOSSES", "ComposeLoss", "build_criterion", "get_criterion"]

logger = logging.getLogger(__name__)

LOSSES: dict[str, type[nn.Module]] = {
    "celoss": nn.CrossEntropyLoss,
    "crossentropyloss": nn.CrossEntropyLoss,
    "focalloss": FocalLoss,
    "labelsmooth": LabelSmoothing,
    "labelsmoothing": LabelSmoothing,
    "bce": BCEWithLogits,
    "bceloss": BCEWithLogits,
    "bcewithlogitsloss": BCEWithLogits,
    "dice": DiceLoss,
    "diceloss": DiceLoss,
    "l1loss": nn.L1Loss,
    "smoothl1": nn.SmoothL1Loss,
    "smoothl1loss": nn.SmoothL1Loss,
    "mse": nn.MSELoss,
    "mseloss": nn.MSELoss,
}
"""The losses by name, in lower case."""

_DEPRECATED = {"self", "size_average", "reduce"}


def get_criterion(
    loss_type: str | Sequence[str] | Mapping[str, float],
    num_classes: int | None = None,
    class_weight: Any = None,
    device: torch.device | str = "cuda:0",
    **kwargs: Any,
) -> nn.Module:
    """Return the loss of that name, in any letter case; of several names a weighted sum.

    ===============================  =======================================================
    name                             own arguments, with defaults
    ===============================  =======================================================
    CELoss, CrossEntropyLoss         label_smoothing=0, ignore_index=-100
    LabelSmoothing                   label_smoothing=0.1, ignore_index=-100
    FocalLoss                        alpha=None, gamma=2, ignore_index=-100
    BCE, BCELoss, BCEWithLogitsLoss  pos_weight=None (from logits, all three)
    Dice, DiceLoss                   smooth=1, ignore_index=-100
    L1Loss, mse
    SmoothL1                         beta=1
    ===============================  =======================================================

    All but Dice also take ``reduction``.

    Args:
        loss_type: The name; a list of names, or the weight of each by its name, goes to
            :func:`build_criterion`, whose loss returns a dict.
        num_classes: Only checked against the length of ``class_weight`` and other weights.
        class_weight: A weight per class, a list, array or tensor, for the losses that tell classes
            apart. For FocalLoss it is ``alpha`` or, if that is one number, multiplied by it.
        device: Has no effect: tensors of a loss follow its inputs to their device.
        **kwargs: The arguments above. One that only other losses take is left aside, with a line
            in the log; None counts as not given.

    Raises:
        UnknownNameError: If there is no such loss.
        ConfigError: If an argument is out of range, or known to no loss.
    """
    if isinstance(loss_type, (list, tuple, Mapping)):
        return build_criterion(loss_type, num_classes, class_weight, device, **kwargs)
    factory = lookup("loss", loss_type, LOSSES)  # type: ignore[arg-type] # or it is refused
    loss_type = str(loss_type)
    own = _own_arguments(loss_type, factory, kwargs)
    if (weight := as_weight(class_weight)) is not None:
        own |= _weighted(loss_type, factory, own, weight)
    try:
        criterion = factory(**own)
    except TypeError as error:
        raise ConfigError(f"Loss {loss_type!r} refused {own}: {error}.") from error
    check_options(criterion)
    check_classes(criterion, num_classes)
    criterion.register_forward_pre_hook(check_inputs)
    if next(criterion.buffers(), None) is not None:
        criterion.register_forward_pre_hook(_follow_inputs)
    return criterion


def build_criterion(
    loss_type: str | Sequence[str] | Mapping[str, float],
    num_classes: int | None = None,
    class_weight: Any = None,
    device: torch.device | str = "cuda:0",
    **kwargs: Any,
) -> ComposeLoss:
    """Return a weighted sum of losses, which calls each with the same inputs.

    Args:
        loss_type: A name, a list of names, or the weight of each by its name.
        num_classes: See :func:`get_criterion`.
        class_weight: Likewise; losses that do not tell classes apart go without.
        device: Likewise.
        **kwargs: Likewise, for all of them.

    Raises:
        ConfigError: If there is no loss, a weight is no number, or as in :func:`get_criterion`.
    """
    names = [loss_type] if isinstance(loss_type, str) else list(loss_type)
    for name in names:
        if not isinstance(name, str) or names.count(name) > 1:
            raise ConfigError(
                f"loss_type={loss_type!r}: write the name of each loss once, as in [CELoss, Dice], "
                f"or its weight beside it, as in {{CELoss: 1.0, Dice: 0.5}}."
            )
    criterions = {
        name: get_criterion(name, num_classes, class_weight, device, **kwargs) for name in names
    }
    return ComposeLoss(criterions, loss_type if isinstance(loss_type, Mapping) else None)


def _follow_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Move a loss's tensors to where its inputs are, once: a no-op from then on."""
    device = next((one.device for one in inputs if isinstance(one, Tensor)), None)
    if device is not None and any(buffer.device != device for buffer in module.buffers()):
        module.to(device)


def _arguments(factory: type[nn.Module]) -> set[str]:
    return set(inspect.signature(factory.__init__).parameters) - _DEPRECATED


def _own_arguments(
    loss_type: str, factory: type[nn.Module], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments that this loss takes; refuse those that none does."""
    if kwargs.get("weight") is not None:
        raise ConfigError(
            f"Loss {loss_type!r} got weight={kwargs['weight']!r}. A weight for each class is given "
            f"as class_weight; one for each of several losses stands beside its name."
        )
    known = {"class_weight"}.union(*(_arguments(one) for one in LOSSES.values())) - {"weight"}
    taken = _arguments(factory)
    if taken & {"weight", "alpha"}:
        taken = taken - {"weight"} | {"class_weight"}
    own, unused = own_arguments("loss", loss_type, kwargs, taken, known)
    if unused:
        logger.info("loss %r does not use %s", loss_type, unused)
    if isinstance(own.get("pos_weight"), Sequence):
        own["pos_weight"] = as_weight(own["pos_weight"])
    return own


def _weighted(
    loss_type: str, factory: type[nn.Module], own: dict[str, Any], weight: Tensor
) -> dict[str, Any]:
    """Return the argument by which this loss takes a weight per class."""
    if "weight" in _arguments(factory):
        return {"weight": weight}
    if "alpha" not in _arguments(factory):
        logger.warning("loss %r does not tell classes apart: class_weight has no effect", loss_type)
        return {}
    alpha = as_weight(own.get("alpha", 1.0))
    if alpha is not None and alpha.ndim > 0:
        raise ConfigError(
            f"Loss {loss_type!r} got both class_weight and an alpha for each class, which mean "
            f"the same. Give only one of them."
        )
    return {"alpha": weight if alpha is None else weight * alpha}
