"""Checks of the settings that config_keys lists, made of those of config_values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from basetrainer._names import nearest
from basetrainer.utils.config_values import (
    SWITCH_WORDS,
    Check,
    as_bool,
    as_choice,
    as_float,
    as_int,
    as_list,
    as_text,
    refusal,
)

_RESUME_WORDS = ("auto", "never")

COUNT = functools.partial(as_int, minimum=1)
FROM_ZERO = functools.partial(as_int, minimum=0)
POSITIVE = functools.partial(as_float, above=0)
NOT_NEGATIVE = functools.partial(as_float, minimum=0)
MOMENTUM = functools.partial(as_float, minimum=0, below=1)


def as_anything(name: str, value: object, origin: str, *, example: str | None) -> object:
    """What only its reader can judge."""
    return value


def as_data(name: str, value: object, origin: str, *, example: str | None) -> object:
    """One path, several, or such under each of several names."""
    if isinstance(value, Mapping):
        return {key: as_texts(name, paths, origin, example=example) for key, paths in value.items()}
    return as_texts(name, value, origin, example=example)


def as_texts(name: str, value: object, origin: str, *, example: str | None) -> object:
    """One text or several."""
    if isinstance(value, (list, tuple)):
        return as_list(name, value, origin, as_text, example=example)
    return as_text(name, value, origin, example=example)


def as_names(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A name, several, or something for each of several."""
    if isinstance(value, (list, tuple, Mapping)):
        return value
    return as_text(name, value, origin, example=example)


def as_text_or_switch(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A text; old programs have false, or a switch of their own, in its place."""
    return value if isinstance(value, bool) else as_text(name, value, origin, example=example)


def as_weights(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A switch; or a text, which names weights or the file that holds them."""
    is_switch = not isinstance(value, str) or value.strip().lower() in SWITCH_WORDS
    return (as_bool if is_switch else as_text)(name, value, origin, example=example)


def as_broken(name: str, value: object, origin: str, *, example: str | None) -> object:
    """What to do with an image that cannot be read."""
    return as_choice(name, value, origin, ("raise", "skip"))


def as_cache(name: str, value: object, origin: str, *, example: str | None) -> object:
    """Where decoded images are kept; false is nowhere."""
    if value is False:
        return None
    return as_choice(name, value, origin, ("disk",))


def as_workers(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A number from 0, or ``auto``."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    return as_int(name, value, origin, minimum=0, example=example)


def as_arguments(*elsewhere: str) -> Check:
    """Arguments by name, without those that are given ``elsewhere``; nothing is none."""

    def check(name: str, value: object, origin: str, *, example: str | None) -> object:
        if not value:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise refusal(name, value, "is not a mapping of arguments", origin, example)
        for key in elsewhere:
            if key in value:
                fault = f"has {key}, which the program gives itself"
                raise refusal(name, value, fault, origin, example)
        return value

    return check


def as_flag(name: str, value: object, origin: str, *, example: str | None) -> object:
    """A text, or a number that becomes one: it goes into the name of a folder."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return as_text_or_switch(name, value, origin, example=example)


def as_resume(name: str, value: object, origin: str, *, example: str | None) -> object:
    """``auto``, ``never``, or a path; a switch means one of the two words."""
    if isinstance(value, bool):
        return "auto" if value else "never"
    text = as_text(name, value, origin, example=example)
    word = text.strip().lower()
    if word in _RESUME_WORDS:
        return word
    near = nearest(word, _RESUME_WORDS)
    if near and not Path(text).exists():
        raise refusal(name, value, "is no path that exists", origin, f"Did you mean {near}?")
    return text


def as_size(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    """Width and height; one number is both."""
    parts = value if isinstance(value, (list, tuple, str)) else [value]
    sizes = as_list(name, parts, origin, COUNT, example=example)
    if len(sizes) not in (1, 2):
        raise refusal(name, value, "is not a width and a height", origin, example)
    return sizes if len(sizes) == 2 else sizes * 2


def as_channels(
    name: str, value: object, origin: str, *, example: str | None, item: Check = as_float
) -> object:
    """One number per channel, or one for all."""
    if isinstance(value, (list, tuple, str)):
        return as_list(name, value, origin, item, example=example)
    return item(name, value, origin, example=example)


def as_milestones(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    """Epochs in a list; one number alone is refused with the list of it."""
    if not (isinstance(value, (list, tuple)) or (isinstance(value, str) and "," in value)):
        mend = f"[{value}]" if str(value).isdecimal() else example
        raise refusal(name, value, "is not a list of epochs", origin, mend)
    return as_list(name, value, origin, FROM_ZERO, example=example)


def as_gpu_id(name: str, value: object, origin: str, *, example: str | None) -> list[int]:
    """Devices, each once."""
    parts = value if isinstance(value, (list, tuple, str)) else [value]
    ids = as_list(name, parts, origin, FROM_ZERO, example=example)
    if not ids:
        raise refusal(name, value, "names no device", origin, "[0]")
    if len(set(ids)) < len(ids):
        once = str(list(dict.fromkeys(ids)))
        raise refusal(name, value, "names a device twice", origin, once)
    return ids


def as_epochs(name: str, value: object, origin: str, *, example: str | None) -> int | float:
    """Epochs, or a part of one."""
    number = as_float(name, value, origin, minimum=0, example=example)
    return int(number) if number.is_integer() else number  # programs count with it


DEVIATIONS = functools.partial(as_channels, item=POSITIVE)
