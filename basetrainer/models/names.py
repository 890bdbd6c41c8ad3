"""Lists of names of parameters and modules, for messages."""

from __future__ import annotations

from collections.abc import Sequence


def shortened(names: Sequence[str], at_most: int = 4) -> str:
    """Return the first names, and how many more there are, for a message."""
    shown = ", ".join(names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown
