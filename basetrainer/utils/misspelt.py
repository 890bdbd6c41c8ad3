"""Tell a misspelt key from a different word."""

from __future__ import annotations

import re
from collections.abc import Iterable


def nearest_misspelling(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that ``key`` is a misspelling of, or None if it is a word of its own.

    Keys are compared word by word (words are joined by underscores), at most two letters apart in
    all: one letter too many, too few or another, or two neighbours swapped. The shorter a word,
    the less it may differ, since ``mode`` and ``model`` or ``map`` and ``amp`` are both words;
    other digits (``lr2``) and other words of the same length (``train_path``, ``train_data``) are
    never slips.

    Args:
        key: A key that is not among the known ones.
        known: The keys that it may be meant for.
    """
    found = [(distance(key.lower(), name.lower()), name) for name in known if _alike(key, name)]
    return min(found)[1] if found else None


def _alike(key: str, name: str) -> bool:
    if re.findall(r"\d", key) != re.findall(r"\d", name):
        return False
    words, others = re.split(r"[_-]+", key.lower()), re.split(r"[_-]+", name.lower())
    if "".join(words) == "".join(others):
        return True  # letter case, or an underscore more or less
    if len(words) != len(others):
        joined = "".join(words), "".join(others)
        return min(map(len, joined)) >= 8 and distance(*joined) <= 1
    pairs = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]]
    alone = len(words) == 1
    return (
        all(_same_word(*pair, alone=alone) for pair in pairs)
        and sum(distance(*pair) for pair in pairs) <= 2
    )


def _same_word(word: str, other: str, *, alone: bool) -> bool:
    """Say whether two different words are one, misspelt or in the plural.

    Args:
        word: In lower case.
        other: In lower case.
        alone: Whether no other words stand beside them, which would tell what is meant.
    """
    length, apart = min(len(word), len(other)), distance(word, other)
    if alone and length <= 3:
        return False
    short, long = sorted((word, other), key=len)
    if long in (f"{short}s", f"{short}es"):
        return True
    if alone and length == 4:
        return apart == 1 and sorted(word) == sorted(other)  # two neighbours swapped
    return apart <= (2 if length >= 8 else 1)


def distance(one: str, two: str) -> int:
    """Count the letters to insert, delete, replace or swap with a neighbour between two words.

    This is the optimal string alignment distance (Damerau's, with no letter edited twice).
    """
    before: list[int] = []
    last = list(range(len(two) + 1))
    for row, letter in enumerate(one, 1):
        here = [row]
        for column, other in enumerate(two, 1):
            cost = min(last[column] + 1, here[-1] + 1, last[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == two[column - 2] and one[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            here.append(cost)
        before, last = last, here
    return last[-1]
