"""Changes of a dataset's attributes, which loader workers that live on would not see."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from basetrainer.data.seeding import parts_of

_PLAIN = (bool, int, float, str, bytes)


Bindings = dict[str, tuple[type, Any]]
"""What each attribute is bound to, by its path, and the class of who has it."""


def bindings(dataset: Any) -> Bindings:
    """Return what the attributes of a dataset, and of those it wraps, are bound to.

    Shallow: ``dataset.transform = other`` is seen, ``dataset.transform.size = 96`` is not. The
    values are kept, so that none of them gives its identity to another one.
    """
    found: Bindings = {}
    seen: set[int] = set()
    waiting = [("dataset", dataset)]
    while waiting:
        name, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        own = getattr(one, "__dict__", {})
        found.update({f"{name}.{key}": (type(one), value) for key, value in own.items()})
        if "dataset" in own:  # Subset, and the usual name in wrappers of the user's own
            waiting.append((f"{name}.dataset", own["dataset"]))
        else:
            parts = parts_of(one)
            waiting += [(f"{name}.datasets[{place}]", part) for place, part in enumerate(parts)]
    return found


def rebound(before: Bindings, after: Bindings) -> list[str]:
    """Return the paths of the attributes that are no longer bound to what they were."""
    return [
        name
        for name in {**before, **after}
        if name not in after
        or (
            not _is_same(before[name][1], after[name][1])
            if name in before
            else _is_new(name, after)
        )
    ]


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) in _PLAIN and one == other)


def _is_new(name: str, after: Bindings) -> bool:
    """Whether an attribute that was not there changes anything; a filled cache does not."""
    owner = after[name][0]
    return not isinstance(getattr(owner, name.rpartition(".")[2], None), cached_property)
