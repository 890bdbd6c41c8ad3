"""Look names up among known ones, and suggest the nearest for those that are not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from basetrainer.errors import ConfigError, UnknownNameError

T = TypeVar("T")

_MISSPELT = 0.82
"""How alike (``difflib`` ratio) a key must be to one of ours to be a misspelling of it."""

_SHORT = 5
"""Words of fewer letters are words of their own."""


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


def misspelling(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` is a misspelling of, or None if it is a word of its own.

    Letter case and underscores do not matter. Other digits (``lr2``) are meant, and so are short
    words, since ``mode`` and ``model`` are both words, unless their letters are only swapped.
    """
    plain = {_letters(entry): entry for entry in known}
    word = _letters(name)
    alike = difflib.get_close_matches(word, plain, n=3, cutoff=_MISSPELT)
    for found in [word, *(one for one in plain if sorted(one) == sorted(word)), *alike]:
        is_long = min(len(found), len(word)) >= _SHORT and abs(len(found) - len(word)) <= 2
        is_swapped = len(word) > 3 and sorted(found) == sorted(word)
        is_same = (
            found == word
            or is_swapped
            or (is_long and re.findall(r"\d", found) == re.findall(r"\d", word))
        )
        if found in plain and is_same:
            return plain[found]
    return None


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


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
