"""Look a name up among known ones, and suggest the nearest when it is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from basetrainer.errors import UnknownNameError

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
    suggestion = nearest(key, table)
    hint = f" Did you mean {suggestion!r}?" if suggestion else ""
    raise UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(table))}.")
