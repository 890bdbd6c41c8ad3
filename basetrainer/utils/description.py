"""What a value is, in plain words that are the same whenever the same program starts."""

from __future__ import annotations

import datetime
import enum
import functools
import hashlib
import inspect
import itertools
import logging
import math
import random
import re
import sys
import types
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

MAX_DEPTH = 8
MAX_PARTS = 4000
"""Parts of one value that are looked at; beyond it only types count."""

_MAX_LIST = 64
"""Longer lists of plain values become their length and a digest."""

_MAX_SAMPLE = 1 << 20
_MAX_ITEMS = 10_000
_ATOMS = {str, int, float, bool, type(None)}
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
_MAIN = ("__main__", "__mp_main__")


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


def name_of(kind: Any) -> str:
    """Return the qualified name of a class or function, with the package that it comes from."""
    module = str(getattr(kind, "__module__", "") or "")
    name = str(getattr(kind, "__qualname__", type(kind).__qualname__))
    package = module.partition(".")[0]
    # A program has another name when it is started by a launcher.
    return name if not package or package in (*_MAIN, "builtins") else f"{package}.{name}"


class _Describer:
    def __init__(self, digests_floats: bool) -> None:
        self._digests_floats = digests_floats
        self._left = MAX_PARTS
        self._above: list[int] = []

    def describe(self, value: Any, depth: int) -> Any:
        plain = _plain(value)
        if plain is not NotImplemented:
            return plain
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
        return {"type": name_of(type(value)), **self._attributes(value, depth)}

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
            found.update(value.named_buffers(recurse=False))
        if isinstance(value, torch.optim.Optimizer):
            found = {}
        return {
            name: self.describe(found[name], depth)
            for name in sorted(found)
            if isinstance(name, str) and not _IGNORED.search(name)
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
            return f"{text} {_hash(np.ascontiguousarray(flat[::step]).tobytes())}"
        except (TypeError, RuntimeError):  # a type that NumPy lacks
            return text


def _plain(value: Any) -> Any:
    """Return what JSON has as it is; NotImplemented for the rest."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return f"{name_of(type(value))}.{value.name}"
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return _plain(value.item()) if not isinstance(value, np.datetime64) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, (bytes, bytearray)):
        return f"bytes[{len(value)}] {_hash(bytes(value))}"
    if isinstance(value, (complex, range, torch.Size)):
        return str(value)
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout, np.dtype)):
        return str(value)
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, type):
        return name_of(value)
    return NotImplemented


def _key(key: Any) -> str:
    plain = _plain(key)
    return plain if isinstance(plain, str) else repr(key if plain is NotImplemented else plain)


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
    return f"{sys.version_info[0]}.{sys.version_info[1]} {_hash(b'|'.join(parts))}"


def _constant(value: Any) -> bytes:
    return (
        repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
    ).encode()


def digest_of_list(values: Any) -> str:
    """Return the length and a digest of a long list of plain values; of others their types."""
    start = _common_folder(values)
    kinds = set(map(type, values))
    if kinds <= {tuple, list}:
        kinds = set(map(type, itertools.chain.from_iterable(values)))
    step = 1 if kinds <= _ATOMS else max(1, len(values) // _MAX_ITEMS)
    digest = hashlib.blake2b(digest_size=8)
    for first in range(0, len(values), _MAX_ITEMS):
        part = values[first : first + _MAX_ITEMS : step]
        text = repr(list(part)) if kinds <= _ATOMS else "".join(_item(one) for one in part)
        text = text.replace(start, "") if start else text
        digest.update(text.encode(errors="surrogatepass"))
    return f"{len(values)} values {digest.hexdigest()}"


def _item(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_item, value))})"
    plain = _plain(value)
    return name_of(type(value)) if plain is NotImplemented else f"{plain!r};"


def _common_folder(values: Any) -> str:
    """Return the folder that all the paths of a list of files are in: it may have moved."""
    first = [one[0] if isinstance(one, (list, tuple)) and one else one for one in values]
    paths = [str(one) for one in first if isinstance(one, (str, PurePath))]
    if len(paths) != len(first) or not all("/" in one for one in paths):
        return ""
    low, high = min(paths), max(paths)
    same = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[: low.rfind("/", 0, same) + 1]


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
