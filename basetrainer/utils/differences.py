"""Where two descriptions of a value differ, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_MAX_TEXT = 120
_STAMPS = re.compile(
    r"\d{4}-?[01]\d-?[0-3]\d([T _-]?[0-2]\d[:_-]?[0-5]\d([:_-]?[0-5]\d(\.\d+)?)?)?([+-]\d\d:?\d\d)?"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|0x[0-9a-f]{6,}"
    r"|(?<=/)tmp[a-z0-9_]{8}(?=/|$)"
)
"""Dates with or without a time, random identifiers, addresses, temporary folders."""

_CLOCK = (1.5e9, 4e9)
"""Seconds since 1970, from 2017 on."""


def differences(then: Any, now: Any, place: str) -> Iterator[str]:
    """Yield each place where two descriptions differ, with both values.

    What two starts of one program differ in (times, random identifiers, addresses, temporary
    folders) is none, nor the code of a function as two versions of Python have it.

    Args:
        then: What :func:`~basetrainer.utils.description.describe` returned, or JSON made of it.
        now: Likewise.
        place: What it is, such as ``"criterion"``.
    """
    if isinstance(then, dict) and isinstance(now, dict):
        if then.get("type") != now.get("type"):
            yield _said(place, then.get("type", then), now.get("type", now))
            return
        keys = then.keys() | now.keys()
        if str(then.get("type", "")).startswith("torch."):  # other versions have other attributes
            keys = then.keys() & now.keys()
        for key in sorted(keys, key=str):
            yield from differences(then.get(key), now.get(key), f"{place}.{key}" if place else key)
    elif isinstance(then, (list, tuple)) and isinstance(now, (list, tuple)):
        if len(then) == len(now) and any(isinstance(one, (dict, list)) for one in (*then, *now)):
            for number, (old, new) in enumerate(zip(then, now, strict=True)):
                yield from differences(old, new, f"{place}[{number}]")
        elif list(then) != list(now):
            yield _said(place, then, now)
    elif not _are_alike(then, now, place):
        yield _said(place, then, now)


def _are_alike(then: Any, now: Any, place: str) -> bool:
    if isinstance(then, str) and isinstance(now, str):
        if place.endswith((".code", ".make")):  # of another version of Python, or of torch
            return then == now or then.partition(" ")[0] != now.partition(" ")[0]
        return _STAMPS.sub("*", then) == _STAMPS.sub("*", now)
    if type(then) is float and type(now) is float and not then.is_integer():
        low, high = _CLOCK
        return then == now or (low < then < high and low < now < high)
    return bool(then == now) and isinstance(then, bool) == isinstance(now, bool)


def _said(place: str, then: Any, now: Any) -> str:
    return f"{place}: {_text(then)} then, {_text(now)} now"


def _text(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 4]} ..."
