"""Numbers, switches, texts and choices: what a value counts as, and the message if it is wrong."""

from __future__ import annotations

import math
import numbers
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from basetrainer._names import did_you_mean
from basetrainer.errors import ConfigError

_Choice = TypeVar("_Choice", bound=str)

SWITCH_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
"""The texts that are switches, in lower case."""

_BOUNDS: dict[str, tuple[Callable[[float, float], bool], str, int]] = {
    "minimum": (operator.lt, "is less than", 0),
    "maximum": (operator.gt, "is more than", 0),
    "above": (operator.le, "is not more than", 1),
    "below": (operator.ge, "is not less than", -1),
}
"""By bound: when a number breaks it, in which words, and how far from it a good number is."""


def refusal(name: str, value: object, fault: str, origin: str, fix: str | None) -> ConfigError:
    """Return the error that says what is wrong with a value, where, and how to fix it.

    Args:
        name: Key.
        value: What the user wrote.
        fault: What is wrong, as the predicate of a sentence: ``"is not a whole number"``.
        origin: Where the value comes from: ``"configs/config.yaml, line 7"``, ``"command line"``,
            or ``""`` if nobody knows.
        fix: A good value, or a whole sentence if it ends with a full stop.
    """
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    place = f" ({origin})" if origin else ""
    advice = fix if fix and fix.endswith((".", "?")) else f"Write e.g. {name}: {fix}"
    return ConfigError(f"{name}: {shown} {fault}{place}. {advice}")


def as_int(
    name: str,
    value: object,
    origin: str = "",
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    example: str | None = None,
) -> int:
    """Return a whole number; 3.0 and the texts ``"3"`` and ``"3.0"`` count as one, True does not.

    Args:
        name: Key, for the message.
        value: What the user wrote.
        origin: Where it comes from, for the message; unknown by default.
        minimum: Smallest good value; none by default.
        maximum: Largest good value; none by default.
        example: A good value, for the message.

    Raises:
        ConfigError: If it is no whole number, or out of range.
    """
    number = _as_number(value)
    if number is None or number != math.floor(number):
        good = example or str(1 if minimum is None else max(1, minimum))
        raise refusal(name, value, "is not a whole number", origin, good)
    whole = int(number)
    _check_range(name, value, whole, origin, example, minimum=minimum, maximum=maximum)
    return whole


def as_float(
    name: str,
    value: object,
    origin: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    example: str | None = None,
) -> float:
    """Return a finite number; a text such as ``"1e-3"`` counts as one, True does not.

    Args:
        name: Key, for the message.
        value: What the user wrote.
        origin: Where it comes from, for the message; unknown by default.
        minimum: Smallest good value; none by default.
        maximum: Largest good value; none by default.
        above: The value must be larger than this; no bound by default.
        below: The value must be smaller than this; no bound by default.
        example: A good value, for the message.

    Raises:
        ConfigError: If it is no number, NaN, infinite, or out of range.
    """
    number = _as_number(value)
    if number is None:
        raise refusal(name, value, "is not a number", origin, example or "1.0")
    bounds = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    _check_range(name, value, number, origin, example, **bounds)
    return float(number)


def _as_number(value: object) -> int | float | None:
    """Return a finite number, or None if the value is none."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                value = kind(value)
                break
            except ValueError:
                continue
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        whole = int(value)
        return whole if abs(whole) < 1 << 63 else None
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _check_range(
    name: str, value: object, number: float, origin: str, example: str | None, **bounds: Any
) -> None:
    for bound, limit in bounds.items():
        breaks, fault, step = _BOUNDS[bound]
        if limit is not None and breaks(number, limit):
            raise refusal(name, value, f"{fault} {limit}", origin, example or str(limit + step))


def as_bool(name: str, value: object, origin: str = "", *, example: str | None = None) -> bool:
    """Return a switch: true or false, 0 or 1, or the texts true, false, yes, no, on, off.

    Args:
        name: Key, for the message.
        value: What the user wrote.
        origin: Where it comes from, for the message; unknown by default.
        example: A good value, for the message; true by default.

    Raises:
        ConfigError: If it is anything else.
    """
    if isinstance(value, str) and value.strip().lower() in SWITCH_WORDS:
        return SWITCH_WORDS[value.strip().lower()]
    if isinstance(value, np.bool_) or (isinstance(value, numbers.Real) and value in (0, 1)):
        return bool(value)
    raise refusal(name, value, "is neither true nor false", origin, example or "true")


def as_choice(name: str, value: object, origin: str, choices: Sequence[_Choice]) -> _Choice:
    """Return that one of ``choices`` which the value is, whatever its letter case.

    Args:
        name: Key, for the message.
        value: What the user wrote.
        origin: Where it comes from, for the message; ``""`` if nobody knows.
        choices: The texts that are good.

    Raises:
        ConfigError: If it is none of them; names the nearest and all.
    """
    for choice in choices:
        if isinstance(value, str) and value.strip().lower() == choice.lower():
            return choice
    raise not_a_choice(name, value, origin, choices)


def not_a_choice(name: str, value: object, origin: str, choices: Iterable[object]) -> ConfigError:
    """Return the error that names the choices, and the nearest of them."""
    known = [str(choice) for choice in choices]
    fix = f"{did_you_mean(str(value), known)} Choose one of {', '.join(known)}.".lstrip()
    return refusal(name, value, "is not a choice", origin, fix)


def as_text(name: str, value: object, origin: str = "", *, example: str | None = None) -> str:
    """Return a text; a path becomes one.

    Raises:
        ConfigError: If it is anything else.
    """
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    raise refusal(name, value, "is not a text", origin, example or f"'{value}'")


def as_list(
    name: str, value: object, origin: str, item: Callable[..., Any], *, example: str | None = None
) -> list[Any]:
    """Return a new list of checked items; ``"0,1"``, ``"[0, 1]"`` and one item alone are lists.

    Args:
        name: Key, for the message.
        value: What the user wrote.
        origin: Where it comes from, for the message.
        item: Check of one item.
        example: A good list, for the message.

    Raises:
        ConfigError: If one of the items is no good.
    """
    if isinstance(value, str):
        value = re.findall(r"[^\s,]+", value.strip().removeprefix("[").removesuffix("]"))
    parts = value if isinstance(value, (list, tuple)) else [value]
    return [item(name, part, origin, example=example) for part in parts]
