"""Names, plain values and digests, which :mod:`~basetrainer.utils.description` is made of."""

from __future__ import annotations

import enum
import hashlib
import itertools
import math
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

_MAX_ITEMS = 10_000
_ATOMS = {str, int, float, bool, type(None)}
_MAIN = ("__main__", "__mp_main__")


def name_of(kind: Any) -> str:
    """Return the qualified name of a class or function, with the package that it comes from."""
    module = str(getattr(kind, "__module__", "") or "")
    name = str(getattr(kind, "__qualname__", type(kind).__qualname__))
    package = module.partition(".")[0]
    # A program has another name when it is started by a launcher.
    return name if not package or package in (*_MAIN, "builtins") else f"{package}.{name}"


def plain(value: Any) -> Any:
    """Return what JSON has as it is; NotImplemented for the rest."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return f"{name_of(type(value))}.{value.name}"
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return plain(value.item()) if not isinstance(value, np.datetime64) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, (bytes, bytearray)):
        return f"bytes[{len(value)}] {hash_of(bytes(value))}"
    if isinstance(value, (complex, range, torch.Size)):
        return str(value)
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout, np.dtype)):
        return str(value)
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, type):
        return name_of(value)
    return NotImplemented


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
    found = plain(value)
    return name_of(type(value)) if found is NotImplemented else f"{found!r};"


def _common_folder(values: Any) -> str:
    """Return the folder that all the paths of a list of files are in: it may have moved."""
    first = [one[0] if isinstance(one, (list, tuple)) and one else one for one in values]
    paths = [str(one) for one in first if isinstance(one, (str, PurePath))]
    if len(paths) != len(first) or not all("/" in one for one in paths):
        return ""
    low, high = min(paths), max(paths)
    same = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[: low.rfind("/", 0, same) + 1]


def hash_of(data: bytes) -> str:
    """Return a short digest of bytes."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()
