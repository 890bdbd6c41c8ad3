"""The checks that keys are declared with, each with what it takes in words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basetrainer._names import nearest
from basetrainer.config.values import (
    SWITCH_WORDS,
    as_bool,
    as_choice,
    as_float,
    as_int,
    as_list,
    as_text,
    refusal,
)


@dataclass(frozen=True)
class Check:
    """What a key takes: converts a value, or raises ConfigError."""

    kind: str
    """What is taken, in words, for tables: ``"whole number >= 1"``."""

    convert: Callable[..., Any]
    """``convert(name, value, origin, *, example)`` returns the value that the run uses."""

    takes_none: bool = False
    """Whether it sees None, which otherwise means that a key is not set."""

    def __call__(
        self, name: str, value: object, origin: str = "", *, example: str | None = None
    ) -> Any:
        """Check the value of the key ``name``; ``example`` is a good value for the message."""
        return self.convert(name, value, origin, example=example)


def whole(minimum: int) -> Check:
    """Whole numbers from ``minimum`` on."""
    return Check(f"whole number >= {minimum}", functools.partial(as_int, minimum=minimum))


def number(kind: str, **bounds: float) -> Check:
    """Numbers within bounds: ``minimum``, ``maximum``, ``above`` and ``below``."""
    convert: Callable[..., Any] = as_float
    return Check(kind, functools.partial(convert, **bounds))


def choice(*names: str) -> Check:
    """One of several names, in any letter case."""

    def convert(name: str, value: object, origin: str, *, example: str | None) -> str:
        return as_choice(name, value, origin, names)

    return Check(" or ".join(filter(None, (", ".join(names[:-1]), names[-1]))), convert)


ANYTHING = Check("anything", lambda name, value, origin, *, example: value)
TEXT = Check("text", as_text)
SWITCH = Check("true or false", as_bool)
COUNT = whole(1)
FROM_ZERO = whole(0)
POSITIVE = number("number > 0", above=0)
NOT_NEGATIVE = number("number >= 0", minimum=0)
FRACTION = number("number > 0 and < 1", above=0, below=1)
MOMENTUM = number("number >= 0 and < 1", minimum=0, below=1)


def _check(kind: str) -> Callable[[Callable[..., Any]], Check]:
    return lambda function: Check(kind, function)


@_check("text, or list of texts")
def as_texts(name: str, value: object, origin: str, *, example: str | None) -> object:
    """One text or several."""
    check = functools.partial(as_list, item=as_text) if _is_list(value) else as_text
    return check(name, value, origin, example=example)


@_check("text, or list of texts")
def as_patterns(name: str, value: object, origin: str, *, example: str | None) -> list[str]:
    """Several texts; one alone is a list of one, whatever stands in it."""
    values = value if _is_list(value) else [value]
    return as_list(name, values, origin, as_text, example=example)


@_check("text, list of texts, or either under each of several names")
def as_data(name: str, value: object, origin: str, *, example: str | None) -> object:
    """One path, several, or such under each of several names."""
    if isinstance(value, Mapping):
        return {key: as_texts(name, paths, origin, example=example) for key, paths in value.items()}
    return as_texts(name, value, origin, example=example)


@_check("text, list or mapping")
def as_names(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A name, several, or something for each of several."""
    if _is_list(value) or isinstance(value, Mapping):
        return value
    return as_text(name, value, origin, example=example)


@_check("text")
def as_text_or_switch(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A text; old programs have false, or a switch of their own, in its place."""
    return value if isinstance(value, bool) else as_text(name, value, origin, example=example)


@_check("true or false, or text")
def as_weights(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A switch; or a text, which names weights or the file that holds them."""
    is_switch = not isinstance(value, str) or value.strip().lower() in SWITCH_WORDS
    return (as_bool if is_switch else as_text)(name, value, origin, example=example)


@_check("disk")
def as_cache(name: str, value: object, origin: str, *, example: str | None) -> object:
    """Where decoded images are kept; false is nowhere."""
    return None if value is False else as_choice(name, value, origin, ("disk",))


@_check("whole number >= 0, or auto")
def as_workers(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A number from 0, or ``auto``."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    return as_int(name, value, origin, minimum=0, example=example)


@_check("text")
def as_flag(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A text, or a number that becomes one: it goes into the name of a folder."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return as_text_or_switch(name, value, origin, example=example)


@_check("auto, never or a path")
def as_resume(name: str, value: object, origin: str, *, example: str | None) -> object:
    """``auto``, ``never``, or a path; a switch means one of the two words."""
    if isinstance(value, bool):
        return "auto" if value else "never"
    text = as_text(name, value, origin, example=example)
    word, words = text.strip().lower(), ("auto", "never")
    near = nearest(word, words)
    if word not in words and near and not Path(text).exists():
        raise refusal(name, value, "is no path that exists", origin, f"Did you mean {near}?")
    return word if word in words else text


@_check("[W, H]")
def as_size(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    """Width and height; one number is both."""
    sizes = as_list(name, value, origin, COUNT, example=example)
    if len(sizes) not in (1, 2):
        raise refusal(name, value, "is not a width and a height", origin, example)
    return sizes if len(sizes) == 2 else sizes * 2


def channels(kind: str, item: Check) -> Check:
    """One number per channel, or one for all."""

    def convert(name: str, value: object, origin: str, *, example: str | None) -> object:
        is_one = not _is_list(value) and not isinstance(value, str)
        check = item if is_one else functools.partial(as_list, item=item)
        return check(name, value, origin, example=example)

    return Check(kind, convert)


CHANNELS = channels("numbers", Check("number", as_float))
DEVIATIONS = channels("numbers > 0", POSITIVE)


@_check("whole numbers >= 0")
def as_milestones(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    """Epochs in a list; one number alone is refused with the list of it."""
    if not _is_list(value) and not (isinstance(value, str) and "," in value):
        fix = f"[{value}]" if str(value).isdecimal() else example
        raise refusal(name, value, "is not a list of epochs", origin, fix)
    return as_list(name, value, origin, FROM_ZERO, example=example)


@_check("whole numbers >= 0")
def as_gpu_id(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    """Devices, each once."""
    ids = as_list(name, value, origin, FROM_ZERO, example=example)
    if not ids:
        raise refusal(name, value, "names no device", origin, "[0]")
    if len(set(ids)) < len(ids):
        once = str(list(dict.fromkeys(ids)))
        raise refusal(name, value, "names a device twice", origin, once)
    return ids


@_check("number >= 0")
def as_epochs(name: str, value: object, origin: str, *, example: str | None) -> int | float:
    """Epochs, or a part of one."""
    epochs = as_float(name, value, origin, minimum=0, example=example)
    return int(epochs) if epochs.is_integer() else epochs  # programs count with it


def arguments(*elsewhere: str) -> Check:
    """Arguments by name, without those that are given ``elsewhere``; nothing is none."""

    def convert(name: str, value: object, origin: str, *, example: str | None) -> object:
        if not value:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise refusal(name, value, "is not a mapping of arguments", origin, example)
        for key in elsewhere:
            if key in value:
                fault = f"has {key}, which the program gives itself"
                raise refusal(name, value, fault, origin, example)
        return value

    return Check("mapping of arguments", convert, takes_none=True)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))
