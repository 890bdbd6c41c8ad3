"""What a value is, in plain words that are the same whenever the same program starts."""

from __future__ import annotations

import datetime
import functools
import inspect
import logging
import random
import re
import sys
import types
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from basetrainer.models.learned import STATISTICS
from basetrainer.utils.digest import digest_of_list, hash_of, name_of, plain

MAX_DEPTH = 8
MAX_PARTS = 4000
"""Parts of one value that are looked at; beyond it only types count."""

_MAX_LIST = 64
"""Longer lists of plain values become their length and a digest."""

_MAX_SAMPLE = 1 << 20
_IGNORED = re.compile(
    r"^_|^training$|cache|(^|_)lock$|logger|(^|_)rng|(^|_)time($|_)|(^|_)date($|_)|stamp|(^|_)pid$"
    r"|(^|_)host|uuid|thread|worker|device|epoch$|^engine$"
)
"""Attributes that say nothing of what an object does, or change while it works."""

_OPAQUE = (
    *(np.random.Generator, np.random.RandomState, random.Random, torch.Generator),
    *(logging.Logger, types.ModuleType, torch.Stream),
    *(datetime.datetime, datetime.date, datetime.time),
)
_LOADED = (*STATISTICS, "num_batches_tracked")
"""Buffers of a layer that weights are loaded with."""

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def describe(value: Any, *, digests_floats: bool = True) -> Any:
    """Return plain values, as JSON has them, that are alike if the values are.

    Objects become their type and public attributes, functions their name, arguments and code,
    arrays and tensors their digest, sets a sorted list. Addresses, the order of dicts and sets,
    caches, clocks and generators of random numbers are left out.

    Args:
        value: Anything; it is only looked at, no method or property of it is called.
        digests_floats: Whether the content of floating-point arrays counts, or only their shape.
    """
    return _Describer(digests_floats).describe(value, MAX_DEPTH)


class _Describer:
    def __init__(self, digests_floats: bool) -> None:
        self._digests_floats = digests_floats
        self._left = MAX_PARTS
        self._above: list[int] = []

    def describe(self, value: Any, depth: int) -> Any:
        found = plain(value)
        if found is not NotImplemented:
            return found
        if isinstance(value, (Tensor, np.ndarray)):
            return self._array(value)
        self._left -= 1
        if depth == 0 or self._left < 0 or id(value) in self._above or isinstance(value, _OPAQUE):
            return {"type": name_of(type(value))}
        self._above.append(id(value))
        try:
            return self._parts(value, depth - 1)
        finally:
            self._above.pop()

    def _parts(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            items = {_key(key): value[key] for key in value}
            return {key: self.describe(items[key], depth) for key in sorted(items)}
        if isinstance(value, Set):
            return sorted((self.describe(one, depth) for one in value), key=repr)
        if isinstance(value, (list, tuple)):
            if len(value) > _MAX_LIST:
                return digest_of_list(value)
            return [self.describe(one, depth) for one in value]
        if isinstance(value, functools.partial):
            parts = (value.func, list(value.args), value.keywords)
            return {"partial": [self.describe(one, depth) for one in parts]}
        if isinstance(value, types.MethodType):
            return {"method": name_of(value), "of": self.describe(value.__self__, depth)}
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if callable(value) and not hasattr(type(value), "__dict__"):
            return name_of(value)
        if isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            return name_of(value)
        return {"type": _type_of(value), **self._attributes(value, depth)}

    def _attributes(self, value: Any, depth: int) -> dict[str, Any]:
        found = dict(getattr(value, "__dict__", {}))
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if isinstance(kind.__dict__.get(name), types.MemberDescriptorType):
                    found.setdefault(name, inspect.getattr_static(value, name))
                    found[name] = _slot(value, name)
        if isinstance(value, nn.Module):
            found.update(value.named_children())
            # Fresh weights are drawn anew, or loaded; what they are is not what they become.
            found.update({name: _kind(one) for name, one in value.named_parameters(recurse=False)})
            for name, one in value.named_buffers(recurse=False):
                found[name] = _kind(one) if name in _LOADED else one
            found.pop("process_group", None)  # of SyncBatchNorm
        if isinstance(value, torch.optim.Optimizer):
            found = {}
        return {
            name: self.describe(found[name], depth)
            for name in sorted(found)
            if isinstance(name, str) and not _IGNORED.search(name) and found[name] is not value
        }

    def _function(self, value: types.FunctionType, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {"function": name_of(value)}
        is_own = str(value.__module__).partition(".")[0] != "basetrainer"
        if is_own and "site-packages" not in value.__code__.co_filename:  # others have versions
            made["code"] = _code(value.__code__)
        if value.__defaults__ or value.__kwdefaults__:
            made["defaults"] = self.describe(
                [list(value.__defaults__ or ()), value.__kwdefaults__ or {}], depth
            )
        if value.__closure__:
            cells = zip(value.__code__.co_freevars, value.__closure__, strict=True)
            made["closure"] = {
                name: self.describe(_content(cell), depth)
                for name, cell in cells
                if not _IGNORED.search(name)
            }
        return made

    def _array(self, value: Any) -> str:
        is_tensor = isinstance(value, Tensor)
        if is_tensor and is_lazy(value):
            return "lazy"
        kind = str(value.dtype).removeprefix("torch.")
        text = f"{kind}{list(value.shape) if not (is_tensor and value.is_nested) else ''}"
        is_exact = kind.startswith(("int", "uint", "bool", "<U", "|S", "<M"))
        is_image = value.ndim > 2
        if (not self._digests_floats and (not is_exact or is_image)) or (
            is_tensor and (value.is_meta or value.layout is not torch.strided or value.is_nested)
        ):
            return text
        try:
            array = value.detach().cpu().numpy() if is_tensor else value
            if array.dtype.hasobject:
                return f"{text} {digest_of_list(array.reshape(-1).tolist())}"
            flat = array.reshape(-1)
            step = max(1, flat.nbytes // _MAX_SAMPLE)
            return f"{text} {hash_of(np.ascontiguousarray(flat[::step]).tobytes())}"
        except (TypeError, RuntimeError):  # a type that NumPy lacks
            return text


def _type_of(value: Any) -> str:
    """Return the name of a type, which does not change with the number of processes."""
    if type(value) in _BATCH_NORMS:
        return "torch.BatchNorm"
    fsdp = sys.modules.get("torch.distributed.fsdp")  # which makes a subclass of each layer's
    if fsdp is not None and isinstance(value, fsdp.FSDPModule):
        kinds = type(value).__mro__
        return name_of(next(one for one in kinds if not issubclass(one, fsdp.FSDPModule)))
    return name_of(type(value))


def _key(key: Any) -> str:
    found = plain(key)
    return found if isinstance(found, str) else repr(key if found is NotImplemented else found)


def _slot(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _kind(parameter: Tensor) -> str:
    if is_lazy(parameter):
        return "lazy"
    return f"{parameter.dtype}{list(parameter.shape)}".removeprefix("torch.")


def _code(code: types.CodeType) -> str:
    """Return Python's version and a digest of the code, which differs from version to version."""
    parts = [code.co_code, repr(code.co_names).encode()]
    parts += [
        _code(one).encode() if isinstance(one, types.CodeType) else _constant(one)
        for one in code.co_consts
    ]
    return f"{sys.version_info[0]}.{sys.version_info[1]} {hash_of(b'|'.join(parts))}"


def _constant(value: Any) -> bytes:
    return (
        repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
    ).encode()
