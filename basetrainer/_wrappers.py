"""What stands around a user's network: wrappers that are taken off, and the name ``module``."""

from __future__ import annotations

import functools
from typing import Any, cast

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

_COMPILED = "OptimizedModule"
"""The class that ``torch.compile(network)`` returns; it holds the network as ``_orig_mod``."""


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own network, whatever wrapped it.

    Taken off are ``DataParallel``, ``DistributedDataParallel`` and what ``torch.compile`` returned,
    in any order. A network of the user's that holds another one, as ``module`` or by any other
    name (``AveragedModel`` does), is the user's own network.
    """
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif type(model).__name__ == _COMPILED and isinstance(
            inner := getattr(model, "_orig_mod", None), nn.Module
        ):
            model = inner
        else:
            return model


def answering_to_module(model: nn.Module) -> nn.Module:
    """Let ``model.module`` be ``model`` itself, unless it has an attribute of that name.

    The name is looked up in a class of the same name that is put before the model's own: no
    submodule is registered, keys stay as they are, a call costs nothing, and the model holds no
    reference to itself, which would keep its memory until Python looks for cycles.
    """
    if not hasattr(model, "module"):
        try:
            own: Any = type(model)
            model.__class__ = _named(own)
        except TypeError:  # a class of C, or with slots
            model.__dict__["module"] = model
    return model


class _Itself:
    """The descriptor behind ``module``; a submodule of that name comes first."""

    def __get__(self, model: nn.Module | None, owner: type) -> Any:
        if model is None:
            return self
        return next((one for name, one in model.named_children() if name == "module"), model)


class _Named:
    """Put before the class of a network; copies and pickles by the name of the network's own."""

    module = _Itself()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let nobody hear of the new class: a registry of the user's would take it for another."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, str):
            return reduced
        made, arguments, *rest = reduced
        own = type(self).__bases__[1]  # the only one of the two that a pickle finds by its name
        arguments = tuple(own if one is type(self) else one for one in arguments)
        return (_remade, (made, *arguments), *rest)


def _remade(made: Any, *arguments: Any) -> nn.Module:
    """Return a copy that is still to be filled, answering to ``module`` like the original."""
    copied: nn.Module = made(*arguments)
    own: Any = type(copied)
    copied.__class__ = _named(own)
    return copied


@functools.lru_cache(maxsize=64)
def _named(own: Any) -> type[nn.Module]:
    names = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
    return cast("type[nn.Module]", type(own.__name__, (_Named, own), names))
