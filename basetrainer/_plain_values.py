"""Values that a file of tensors cannot hold, written as values that it can, and read back."""

from __future__ import annotations

import copy
import datetime
import decimal
import fractions
import random
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

MARK = "basetrainer.value"
"""The key that tells a written value from a dict: ``{MARK: kind, "value": its parts}``."""

_ATOMS = (
    *(type(None), bool, int, float, complex, str),
    *(torch.dtype, torch.device, torch.Size),
)
KEYS = (str, int, float, bool, type(None))
"""Types of keys that a file of tensors holds, exactly; and tuples of them."""

_FACTORIES: dict[str, Any] = {
    one.__name__: one for one in (int, float, bool, str, list, dict, set, tuple, Counter, deque)
}


class Unwritable(Exception):  # noqa: N818 # it is no error of its own: check_tree words it
    """A value that cannot be read back: ``value`` at ``place``."""

    def __init__(self, value: Any, place: str, reason: str = "") -> None:
        super().__init__(place)
        self.value, self.place, self.reason = value, place, reason


def encode(value: Any, place: str = "") -> Any:
    """Return ``value`` as ``torch.load(weights_only=True)`` reads it.

    Tensors are not copied, unless one repeats a number in memory (``expand``): it is written out.
    What needs no change comes back as the same object.

    Args:
        value: Any nesting of plain values, tensors and the types of the standard library and NumPy
            that hold data: arrays, paths, dates, deques, counters, generators of random numbers.
        place: Where it stands, for :class:`Unwritable`.

    Raises:
        Unwritable: For the first value of another type, since only its program could make it again.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, Tensor):
        return _tensor(value, place)
    if kind in (dict, OrderedDict):
        return _mapping(value, place)
    if kind in (list, tuple):
        made = [encode(one, f"{place}[{number}]") for number, one in enumerate(value)]
        is_same = all(new is old for new, old in zip(made, value, strict=True))
        return value if is_same else kind(made)
    if kind is set and all(_is_key(one) for one in value):
        return value
    if kind not in _WRITERS:
        raise Unwritable(value, place)
    name, parts, _ = _WRITERS[kind]
    try:
        inner = parts(value)
    except (TypeError, ValueError) as error:
        raise Unwritable(value, place, str(error)) from error
    return {MARK: name, "value": encode(inner, place)}


def decode(value: Any) -> Any:
    """Return what :func:`encode` was given.

    Raises:
        ValueError: If a written value is not one of ours, or a TypeError or LookupError.
    """
    if isinstance(value, dict):
        if MARK in value:
            return _READERS[value[MARK]](decode(value["value"]))
        made = {key: decode(one) for key, one in value.items()}
        if all(made[key] is one for key, one in value.items()):
            return value
        if type(value) is dict:
            return made
        made_copy = copy.copy(value)
        made_copy.update(made)
        return made_copy
    if type(value) in (list, tuple):
        items = [decode(one) for one in value]
        is_same = all(new is old for new, old in zip(items, value, strict=True))
        return value if is_same else type(value)(items)
    return value


def _is_key(key: Any) -> bool:
    return type(key) in KEYS or (type(key) is tuple and all(map(_is_key, key)))


def _mapping(value: Any, place: str) -> Any:
    if MARK in value or not all(map(_is_key, value)):
        pairs = [
            [encode(key, f"{place}, key {key!r}"), encode(one, f"{place}[{key!r}]")]
            for key, one in value.items()
        ]
        return {MARK: "ordered" if type(value) is OrderedDict else "dict", "value": pairs}
    made = {key: encode(one, f"{place}[{key!r}]") for key, one in value.items()}
    if all(made[key] is one for key, one in value.items()):
        return value
    if type(value) is dict:
        return made
    made_copy = copy.copy(value)  # with the metadata that torch keeps on a state dict
    made_copy.update(made)
    return made_copy


def _tensor(value: Tensor, place: str) -> Tensor:
    is_own = type(value) in (Tensor, nn.Parameter) or value.layout == torch.jagged
    if is_lazy(value) or not is_own:
        raise Unwritable(value, place)
    if value.is_meta:
        raise Unwritable(value, place, "has no numbers (it is on the meta device)")
    if value.layout is torch.strided and not value.is_nested:
        if value.is_conj() or value.is_neg():
            value = value.resolve_conj().resolve_neg()
        if value.nbytes > value.untyped_storage().nbytes():
            return value.detach().contiguous()
    return value


def _bytes_of(data: bytes | bytearray) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0).byte()


def _bytes_in(value: Tensor) -> bytes:
    return bytes(value.numpy().tobytes())


def _array_parts(value: Any) -> list[Any]:
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind == "V":
        raise TypeError(f"an array of {array.dtype} holds objects or records")
    return [array.dtype.str, list(array.shape), _bytes_of(array.tobytes())]


def _array(parts: list[Any]) -> Any:
    name, shape, data = parts
    return np.frombuffer(_bytes_in(data), dtype=np.dtype(name)).reshape(shape).copy()


def _default_parts(value: Any) -> list[Any]:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if factory is not None and _FACTORIES.get(str(name)) is not factory:
        raise TypeError(f"its factory {factory!r} is not known")
    return [name, dict(value)]


def _numpy_rng(parts: list[Any]) -> Any:
    name, state = parts
    kinds = {one.__name__: one for one in _BIT_GENERATORS}
    generator = kinds[name]()
    generator.state = state
    return np.random.Generator(generator)


def _numpy_rng_parts(value: Any) -> list[Any]:
    generator = value.bit_generator
    if type(generator) not in _BIT_GENERATORS:
        raise TypeError(f"its {type(generator).__name__} is not known")
    return [type(generator).__name__, generator.state]


_BIT_GENERATORS = (
    *(np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937),
    *(np.random.Philox, np.random.SFC64),
)


def _old_numpy_rng(state: Any) -> Any:
    made = np.random.RandomState()
    made.set_state(state)
    return made


def _python_rng(state: Any) -> random.Random:
    made = random.Random()
    made.setstate(state)
    return made


def _torch_rng(parts: list[Any]) -> torch.Generator:
    device, state = parts
    return torch.Generator(device).set_state(state)


_DELTA = ("days", "seconds", "microseconds")
_WRITERS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    np.ndarray: ("array", _array_parts, _array),
    bytes: ("bytes", _bytes_of, _bytes_in),
    bytearray: ("bytearray", _bytes_of, lambda value: bytearray(_bytes_in(value))),
    set: ("set", list, set),
    frozenset: ("frozenset", list, frozenset),
    deque: ("deque", lambda x: [x.maxlen, list(x)], lambda x: deque(x[1], x[0])),
    Counter: ("counter", dict, Counter),
    defaultdict: (
        "defaultdict",
        _default_parts,
        lambda x: defaultdict(None if x[0] is None else _FACTORIES[x[0]], x[1]),
    ),
    type(Path()): ("path", str, Path),
    PurePosixPath: ("posix path", str, PurePosixPath),
    PureWindowsPath: ("windows path", str, PureWindowsPath),
    range: ("range", lambda x: [x.start, x.stop, x.step], lambda x: range(*x)),
    slice: ("slice", lambda x: [x.start, x.stop, x.step], lambda x: slice(*x)),
    datetime.datetime: ("datetime", lambda x: x.isoformat(), datetime.datetime.fromisoformat),
    datetime.date: ("date", lambda x: x.isoformat(), datetime.date.fromisoformat),
    datetime.time: ("time", lambda x: x.isoformat(), datetime.time.fromisoformat),
    datetime.timedelta: (
        "timedelta",
        lambda x: [getattr(x, one) for one in _DELTA],
        lambda x: datetime.timedelta(*x),
    ),
    decimal.Decimal: ("decimal", str, decimal.Decimal),
    fractions.Fraction: ("fraction", str, fractions.Fraction),
    uuid.UUID: ("uuid", str, uuid.UUID),
    SimpleNamespace: ("namespace", vars, lambda x: SimpleNamespace(**x)),
    np.random.Generator: ("numpy generator", _numpy_rng_parts, _numpy_rng),
    np.random.RandomState: ("numpy random state", lambda x: x.get_state(), _old_numpy_rng),
    random.Random: ("python random", lambda x: x.getstate(), _python_rng),
    torch.Generator: ("generator", lambda x: [str(x.device), x.get_state()], _torch_rng),
}
for _kind in {type(np.zeros((), code)[()]) for code in [*np.typecodes["All"], "M8[s]", "m8[s]"]}:
    if issubclass(_kind, np.generic) and not issubclass(_kind, np.void):
        _WRITERS[_kind] = ("scalar", _array_parts, lambda parts: _array(parts)[()])
for _kind in map(type, (np.dtype(code) for code in "?bhilqBHILQefdgFDG")):
    _WRITERS[_kind] = ("numpy dtype", lambda x: x.str, np.dtype)

_READERS: dict[str, Callable[[Any], Any]] = {
    **{name: reader for name, _, reader in _WRITERS.values()},
    "dict": dict,
    "ordered": OrderedDict,
}
