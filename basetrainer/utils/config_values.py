"""Convert one value of a config to the type it must have, or say what is wrong with it."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from basetrainer._names import nearest
from basetrainer.errors import ConfigError

_Choice = TypeVar("_Choice", bound=str)

SWITCH_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
"""The texts that are switches, in lower case."""


class Check(Protocol):
    """A function that returns the value, converted, or raises ConfigError."""

    def __call__(self, name: str, value: object, origin: str, *, example: str | None) -> Any:
        """Check the value of the key ``name``; ``example`` is a good value for the message."""


def refusal(name: str, value: object, fault: str, origin: str, mend: str | None) -> ConfigError:
    """Return the error that says what is wrong with a value, where, and how to mend it.

    Args:
        name: Key.
        value: What the user wrote.
        fault: What is wrong, as the predicate of a sentence: ``"is not a whole number"``.
        origin: Where the value comes from: ``"configs/config.yaml, line 7"``, ``"command line"``,
            or ``""`` if nobody knows.
        mend: A good value, or a whole sentence if it ends with a full stop.
    """
    place = f" ({origin})" if origin else ""
    advice = mend if mend and mend.endswith(".") else f"Write e.g. {name}: {mend}"
    return ConfigError(f"{name}: {_shortened(value)} {fault}{place}. {advice}")


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


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
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, numbers.Integral):
        whole = int(value)
        return whole if abs(whole) < 1 << 63 else None
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    return None


def _check_range(
    name: str,
    value: object,
    number: float,
    origin: str,
    example: str | None,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> None:
    fault, good = "", number
    if minimum is not None and number < minimum:
        fault, good = f"is less than {minimum}", minimum
    elif maximum is not None and number > maximum:
        fault, good = f"is more than {maximum}", maximum
    elif above is not None and number <= above:
        fault, good = f"is not more than {above}", above + 1
    elif below is not None and number >= below:
        fault, good = f"is not less than {below}", below - 1
    if fault:
        raise refusal(name, value, fault, origin, example or str(good))


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
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in SWITCH_WORDS:
        return SWITCH_WORDS[value.strip().lower()]
    if isinstance(value, numbers.Real) and value in (0, 1):
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
    near = nearest(str(value), choices)
    hint = f"Did you mean {near!r}? " if near else ""
    mend = f"{hint}Choose one of {', '.join(choices)}."
    raise refusal(name, value, "is not a choice", origin, mend)


def as_text(name: str, value: object, origin: str = "", *, example: str | None = None) -> str:
    """Return a text; a path becomes one.

    Raises:
        ConfigError: If it is anything else.
    """
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    raise refusal(name, value, "is not a text", origin, example or f"'{value}'")


def as_list(
    name: str,
    value: Sequence[object] | str,
    origin: str,
    item: Check,
    *,
    example: str | None = None,
) -> list[Any]:
    """Return a new list of checked items; the text ``"0,1"`` or ``"[0, 1]"`` counts as a list.

    Args:
        name: Key, for the message.
        value: The list or text that the user wrote.
        origin: Where it comes from, for the message.
        item: Check of one item.
        example: A good list, for the message.

    Raises:
        ConfigError: If one of the items is no good.
    """
    if isinstance(value, str):
        value = re.findall(r"[^\s,]+", value.strip().removeprefix("[").removesuffix("]"))
    return [item(name, part, origin, example=example) for part in value]
