"""Look names up among known ones, and suggest the nearest for those that are not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from basetrainer.errors import ConfigError, UnknownNameError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name most like ``name``, or None if none is like it.

    Args:
        name: What the user wrote; letter case does not matter.
        known: The names that would have been right.
        cutoff: How alike, from 0 to 1 (``difflib`` ratio), a name must be.
    """
    by_lower = {entry.lower(): entry for entry in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def nearest_key(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that ``key`` is a misspelling of, or None if it is a word of its own.

    Names such as ``lr2``, ``mode`` or ``train_path`` are alike to known ones, but words of their
    own: digits must agree, short words be the same but for letter case, order or the plural, and of
    several words joined by underscores each be alike.

    Args:
        key: A key that is not among the known ones.
        known: The keys that it may be meant for.
    """
    names = [name for name in known if _is_slip(key.lower(), name.lower())]
    return nearest(key, names, 0.0)


def _is_slip(key: str, name: str) -> bool:
    """Whether a key, in lower case, is likely to be another one misspelt."""
    if re.findall(r"\d", key) != re.findall(r"\d", name):
        return False
    words, others = re.split(r"[_-]+", key), re.split(r"[_-]+", name)
    joined, other = "".join(words), "".join(others)
    if joined == other:
        return True
    if len(words) != len(others):
        return min(len(joined), len(other)) >= 8 and _ratio(joined, other) > 0.93
    pairs = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]]
    return all(_is_same_word(*pair, alone=len(words) == 1) for pair in pairs)


def _is_same_word(word: str, other: str, *, alone: bool) -> bool:
    """Whether two different words are one, misspelt or in the plural."""
    short, long = sorted((word, other), key=len)
    if long in (f"{short}s", f"{short}es"):
        return not alone or len(short) > 3
    if sorted(word) == sorted(other):
        return not alone or len(short) > 3  # letters swapped
    if len(short) < (5 if alone else 3) or len(long) < 4:
        return False
    if len(long) - len(short) > (2 if len(short) >= 8 else 1):
        return False
    return _ratio(word, other) >= (0.8 if len(long) > 5 else 0.75)


def _ratio(one: str, two: str) -> float:
    return difflib.SequenceMatcher(None, one, two, autojunk=False).ratio()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'NAME'?`` for a message, or nothing where no name is alike."""
    suggestion = nearest(name, known)
    return f" Did you mean {suggestion!r}?" if suggestion else ""


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``, whatever the letter case of ``name``.

    Args:
        kind: What the table holds ("optimizer"), for the message.
        name: What the user wrote.
        table: Known names, in lower case.

    Raises:
        UnknownNameError: If there is no such name; lists the nearest and all known ones.
    """
    key = str(name).lower()
    if key in table:
        return table[key]
    hint = did_you_mean(key, table)
    fault = f"Unknown {kind} {name!r}.{hint}" if name else f"No {kind} is named."
    raise UnknownNameError(f"{fault} Known: {', '.join(sorted(table))}.")


def own_arguments(
    kind: str,
    name: str,
    given: Mapping[str, Any],
    own: Collection[str],
    known: Collection[str],
) -> tuple[dict[str, Any], str]:
    """Sort arguments that were meant for any of several things of one kind.

    Args:
        kind: What is built ("optimizer"), for the message.
        name: Which one of them.
        given: The arguments; those that are None count as not given.
        own: Names of those that this one takes.
        known: Names of those that any of its kind takes.

    Returns:
        Those that it takes, and in words those that it does not use.

    Raises:
        ConfigError: If one is known to none of its kind; lists the nearest, and those it takes.
    """
    given = {key: value for key, value in given.items() if value is not None}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"{kind.capitalize()} {name!r} got {key}={value!r}, which no {kind} takes."
                f"{did_you_mean(key, known)} {name!r} takes {', '.join(sorted(own))}."
            )
    unused = ", ".join(f"{key}={value!r}" for key, value in given.items() if key not in own)
    return {key: value for key, value in given.items() if key in own}, unused


def matches(name: str, patterns: str | Sequence[str]) -> bool:
    """Whether a dotted name, or a module that it is part of, matches one of the patterns.

    ``"layer1"`` matches ``layer1.0.conv1.weight``; ``*``, ``?`` and ``[12]`` are as in file names.
    """
    given = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, one) or fnmatchcase(name, f"{one}.*") for one in given)
