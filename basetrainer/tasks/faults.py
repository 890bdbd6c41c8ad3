"""Faults: what is wrong in annotations, where, and what is done about it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from basetrainer._names import did_you_mean
from basetrainer.errors import AnnotationError, ConfigError

logger = logging.getLogger(__name__)

OnFault: TypeAlias = Literal["raise", "fix", "skip"]
_LISTED = 10  # faults of one kind that a message shows; the data have all
_ALIASES = {"mend": "fix"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: What faults of its kind are called, in few words.
        where: File, and line or id.
        what: What is wrong there, and how to fix it.
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.where}: {self.what}"


class Faults:
    """Collects faults, so that all are reported at once.

    Args:
        on_fault: ``raise`` refuses the data; ``fix`` drops or repairs the object and keeps the
            image; ``skip`` leaves the image out.

    Attributes:
        found: The faults, in the order in which they were found.
        notes: How often something harmless was met (a box cut at the border), by its name.

    Raises:
        ConfigError: If ``on_fault`` is none of these.
    """

    def __init__(self, on_fault: str = "raise") -> None:
        given = _ALIASES.get(on_fault, on_fault)
        if given not in ("raise", "fix", "skip"):
            hint = did_you_mean(str(on_fault), ("raise", "fix", "skip"))
            raise ConfigError(f"on_fault: {on_fault!r} must be raise, fix or skip.{hint}")
        self.on_fault = cast("OnFault", given)
        self.found: list[Fault] = []
        self.notes: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of faults."""
        return len(self.found)

    def add(self, kind: str, where: str, what: str) -> None:
        """Record a fault."""
        self.found.append(Fault(kind, where, what))

    def note(self, what: str, count: int = 1) -> None:
        """Count something that is harmless, and that people may want to know."""
        if count:
            self.notes[what] += count

    def by_kind(self) -> dict[str, list[Fault]]:
        """Return the faults of each kind, the most frequent kind first."""
        kinds: dict[str, list[Fault]] = {}
        for fault in self.found:
            kinds.setdefault(fault.kind, []).append(fault)
        return dict(sorted(kinds.items(), key=lambda entry: -len(entry[1])))

    def lines(self) -> Iterator[str]:
        """Yield the faults by kind for people; long lists are cut."""
        for kind, faults in self.by_kind().items():
            yield f"{kind}: {len(faults):,}"
            for fault in faults[:_LISTED]:
                yield f"  {fault}"
            if len(faults) > _LISTED:
                yield f"  ... and {len(faults) - _LISTED:,} more"

    def raise_or_log(self, sources: str) -> None:
        """Refuse the data if there are faults and ``on_fault`` is ``raise``; else log them.

        Args:
            sources: What was read, for the message.

        Raises:
            AnnotationError: With all faults, by kind.
        """
        for what, count in self.notes.items():
            logger.info("%s: %s: %s", sources, what, f"{count:,}")
        if not self.found:
            return
        text = "\n  ".join(self.lines())
        if self.on_fault == "raise":
            raise AnnotationError(
                f"{sources}: {_number(len(self.found))} in the annotations\n  {text}\n"
                "Correct them; or write on_fault: fix (drops the objects, keeps their images) or "
                "on_fault: skip (leaves their images out)."
            )
        done = "fixed or dropped" if self.on_fault == "fix" else "left out with their images"
        logger.warning("%s: %s %s\n  %s", sources, _number(len(self.found)), done, text)


def _number(count: int) -> str:
    return f"{count:,} fault{'s' if count != 1 else ''}"
