"""ComposeLoss: several losses as one module that returns a dict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from torch import Tensor, nn

from basetrainer.errors import ConfigError, UsageError


class ComposeLoss(nn.Module):
    """Several losses of the same inputs, each with a weight.

    Calling it returns a dict of the weighted losses by name. A loss that returns a dict itself
    adds an entry ``NAME.KEY`` for each of its keys.

    Args:
        criterions: The losses by name: modules or functions of ``(outputs, targets)``.
        weights: The weight of each; by default 1.

    Raises:
        ConfigError: If there is no loss, or the weights are not those of these losses.
    """

    def __init__(
        self,
        criterions: Mapping[str, Callable[..., Any]],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        weights = dict.fromkeys(criterions, 1.0) if weights is None else weights
        _check_weights(criterions, weights)
        self.weights = {name: float(weights[name]) for name in criterions}
        # By position, since names may hold what a module's name may not, such as dots.
        self.parts = nn.ModuleList(
            one if isinstance(one, nn.Module) else _Function(one) for one in criterions.values()
        )

    @property
    def criterions(self) -> dict[str, nn.Module]:
        """The losses by name."""
        return dict(zip(self.weights, self.parts, strict=True))

    def forward(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return the weighted losses by name."""
        losses: dict[str, Tensor] = {}
        for (name, weight), criterion in zip(self.weights.items(), self.parts, strict=True):
            loss = criterion(outputs, targets)
            if isinstance(loss, Mapping):
                for key, value in loss.items():
                    _add(losses, f"{name}.{key}", weight * value)
            elif isinstance(loss, Tensor):
                _add(losses, name, weight * loss)
            else:
                raise UsageError(
                    f"Loss {name!r} returned a {type(loss).__name__}. Return a tensor, or a dict "
                    f"of tensors."
                )
        return losses

    def extra_repr(self) -> str:
        """Name the losses and their weights."""
        return ", ".join(f"{name}: {weight:g}" for name, weight in self.weights.items())


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def _add(losses: dict[str, Tensor], name: str, loss: Tensor) -> None:
    if name in losses:
        raise UsageError(f"Two losses are called {name!r}. Rename one, so that none is lost.")
    losses[name] = loss


def _check_weights(criterions: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    if not criterions:
        raise ConfigError("There is no loss to compute. Name at least one, such as 'CELoss'.")
    if set(criterions) != set(weights):
        raise ConfigError(
            f"The losses are {list(criterions)}, but the weights are of {list(weights)}. Give one "
            f"weight for each loss."
        )
    for name, weight in weights.items():
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight):
            raise ConfigError(f"The weight of loss {name!r} is {weight!r}. Write a number, like 1.")
