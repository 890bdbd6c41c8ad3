"""Report: what a look at all images found, as data and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_LISTED = 20  # entries of a list that the text shows; the data has all
_CLASSES = 50  # classes up to which the text shows every one


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used."""

    path: str
    where: str
    """The list file and line that name it, or its folder."""
    reason: str


@dataclass(frozen=True)
class PartReport:
    """What was found in the training or in the test data."""

    name: str
    """"train", "test", or "test NAME" of several test sets."""
    sources: tuple[str, ...]
    num_images: int
    """How many are named, whether they can be read or not."""
    class_counts: Mapping[str, int]
    """Images named for each class, in the order of their indices; may sum to more, or less, than
    ``num_images`` if images have several labels."""
    sizes: Mapping[tuple[int, int], int]
    """(width, height) in pixels -> number of readable images."""
    missing: tuple[BadFile, ...]
    broken: tuple[BadFile, ...]


@dataclass(frozen=True)
class Copy:
    """One of several samples with the same content."""

    part: str
    path: str
    label: str
    """Class name, or several joined by ``|``."""


@dataclass(frozen=True)
class Report:
    """What :func:`basetrainer.datasets.check.check_data` found.

    Attributes:
        parts: One for the training data, then one for each test set.
        duplicates: Samples whose files have the same bytes, together.
    """

    parts: tuple[PartReport, ...]
    duplicates: tuple[tuple[Copy, ...], ...]

    @property
    def faults(self) -> list[str]:
        """What ought to be mended, a line each; copies within a class of one part are not."""
        found: list[str] = []
        for part in self.parts:
            for kind, files in (("missing", part.missing), ("broken", part.broken)):
                if files:
                    found.append(f"{part.name}: {_number(len(files), 'file')} {kind}")
            empty = [name for name, count in part.class_counts.items() if not count]
            if empty and part is self.parts[0]:
                found.append(f"{part.name}: no image of {', '.join(_cut(empty))}")
        leaked = sum(map(_is_leak, self.duplicates))
        if leaked:
            found.append(f"{_number(leaked, 'image')} both in train and test")
        contrary = sum(len({copy.label for copy in copies}) > 1 for copies in self.duplicates)
        if contrary:
            found.append(f"{_number(contrary, 'image')} under different labels")
        return found

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def text(self) -> str:
        """Return the report as a table for people; long lists are cut."""
        lines = [line for part in self.parts for line in (*_part_lines(part), "")]
        if self.duplicates:
            lines.append(f"{_number(len(self.duplicates), 'image')} in several copies")
            lines += [f"  {line}" for line in _cut(map(_copies_line, self.duplicates))]
            lines.append("")
        faults = self.faults
        lines.append(f"{_number(len(faults), 'kind')} of fault:" if faults else "no fault found")
        return "\n".join([*lines, *(f"  {fault}" for fault in faults)])


def _part_lines(part: PartReport) -> Iterator[str]:
    classes = _number(len(part.class_counts), "class", "classes")
    sources = ", ".join(part.sources)
    yield f"{part.name}: {_number(part.num_images, 'image')} in {classes}, from {sources}"
    width = max(len("class"), *map(len, part.class_counts))
    yield f"  {'class':{width}}  {'images':>9}  {'share':>7}"
    rows = list(part.class_counts.items())
    if len(rows) > _CLASSES:
        rows.sort(key=lambda row: -row[1])
        yield f"  (the ten largest and the ten smallest of {len(rows)})"
        rows = rows[:10] + rows[-10:]
    for name, count in rows:
        yield f"  {name:{width}}  {count:>9,}  {count / part.num_images:>7.1%}"
    if part.sizes:
        most = max(part.sizes, key=lambda size: part.sizes[size])
        sides = list(zip(*part.sizes, strict=True))
        yield (
            f"  width {min(sides[0])} to {max(sides[0])}, height {min(sides[1])} to "
            f"{max(sides[1])} pixels; most often {most[0]}x{most[1]} ({part.sizes[most]:,})"
        )
    for kind, files in (("missing", part.missing), ("broken", part.broken)):
        if files:
            yield f"  {kind}: {_number(len(files), 'file')}"
            yield from _cut(f"    {file.where}: {file.reason}" for file in files)


def _is_leak(copies: tuple[Copy, ...]) -> bool:
    """Whether an image was trained on and tested on; copies in two test sets are none."""
    parts = {copy.part for copy in copies}
    return "train" in parts and len(parts) > 1


def _copies_line(copies: tuple[Copy, ...]) -> str:
    notes = []
    if _is_leak(copies):
        notes.append("in train and test")
    if len({copy.label for copy in copies}) > 1:
        notes.append("labels differ")
    shown = " = ".join(_cut(f"{copy.part} {copy.path} [{copy.label}]" for copy in copies))
    return f"{shown} ({', '.join(notes)})" if notes else shown


def _cut(lines: Iterable[str]) -> list[str]:
    listed = list(lines)
    rest = len(listed) - _LISTED
    return listed if rest <= 0 else [*listed[:_LISTED], f"... and {rest:,} more"]


def _number(count: int, singular: str, plural: str = "") -> str:
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
