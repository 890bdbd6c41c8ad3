"""Which classes there are, and what a label written in a file means."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from basetrainer._names import did_you_mean
from basetrainer.errors import ConfigError, DataError

ClassNames: TypeAlias = "str | os.PathLike[str] | Sequence[str] | Mapping[str, int]"
"""A list of names, a text file with one name a line, or a dict of name -> index."""

_DIGITS = re.compile(r"(\d+)")
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_LISTED = 20  # names that a message shows; more would hide what it says


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key that puts ``class2`` before ``class10`` and ignores letter case first."""
    parts = _DIGITS.split(name.casefold())
    # Split by a group, odd places are always digits: equal places have comparable types.
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def is_index(label: str) -> bool:
    """Whether a label is written as an integer."""
    return _INTEGER.fullmatch(label) is not None


def shown(names: Iterable[str]) -> str:
    """Return names for a message, cut where a list would be too long to read."""
    listed = list(names)
    rest = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED]) + (f", ... ({rest} more)" if rest > 0 else "")


@dataclass(frozen=True)
class ClassList:
    """The classes in the order of their indices, and every name that means one of them.

    Attributes:
        names: One name per index, shape ``(C,)``.
        ids: Name -> index; may hold further names of the same class.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]

    @classmethod
    def of(cls, names: Iterable[str]) -> ClassList:
        """Number ``names`` in their order.

        Raises:
            ConfigError: If there is none, or one twice.
        """
        listed = tuple(str(name) for name in names)
        if not listed:
            raise ConfigError("The list of class names is empty: give at least one name.")
        ids = {name: index for index, name in enumerate(listed)}
        if len(ids) < len(listed):
            twice = next(name for place, name in enumerate(listed) if ids[name] != place)
            raise ConfigError(
                f"Class name {twice!r} stands at places {listed.index(twice)} and {ids[twice]} of "
                "the class names: remove one of them."
            )
        return cls(listed, ids)

    @classmethod
    def read(cls, class_names: ClassNames | ClassList) -> ClassList:
        """Read the classes from a list, a file with one name a line, or a dict.

        Lines are stripped and empty ones ignored. In a dict several names may share an index
        (``{"cat": 0, "kitten": 0}``); the first one names the class.

        Raises:
            ConfigError: If the file is missing or empty, a name stands twice, or the indices of a
                dict are not 0, 1, 2, ... without a gap.
            DataError: If the file is not UTF-8 text.
        """
        if isinstance(class_names, ClassList):
            return class_names
        if isinstance(class_names, Mapping):
            return cls._from_mapping(class_names)
        if isinstance(class_names, (str, os.PathLike)):
            return cls._from_file(Path(class_names))
        return cls.of(class_names)

    @classmethod
    def _from_file(cls, path: Path) -> ClassList:
        if not path.is_file():
            raise ConfigError(
                f"class_names={os.fspath(path)!r}: there is no such file. Give a text file with "
                "one class name a line, a list of names, or a dict of name: index."
            )
        names = [line.strip() for line in read_text(path).splitlines()]
        try:
            return cls.of(name for name in names if name)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def _from_mapping(cls, mapping: Mapping[str, int]) -> ClassList:
        ids = {str(name): index for name, index in mapping.items()}
        names: dict[int, str] = {}
        for name, index in ids.items():
            if not isinstance(index, int) or isinstance(index, bool):
                raise ConfigError(
                    f"class_names gives {name!r} the index {index!r}: it must be an integer."
                )
            names.setdefault(index, name)
        if sorted(names) != list(range(len(names))) or not names:
            raise ConfigError(
                f"class_names has the indices {shown(map(str, sorted(names)))}: they must be "
                f"0 to {len(names) - 1} without a gap, since a model has one output per index."
            )
        return cls(tuple(names[index] for index in range(len(names))), ids)

    def id_of(self, label: str, where: Callable[[], str], *, is_name: bool) -> int:
        """Return the index that ``label`` means.

        A label that is a class name means that class, even if it looks like a number; any other
        integer is an index.

        Args:
            label: As written.
            where: Gives file and line, or folder, for the message.
            is_name: Whether it can only be a name, as that of a folder.

        Raises:
            ConfigError: If it means no class; suggests the nearest name.
        """
        if label in self.ids:
            return self.ids[label]
        if is_index(label) and not is_name:
            if 0 <= int(label) < len(self.names):
                return int(label)
            raise ConfigError(
                f"{where()}: label {label} is not among the {len(self.names)} classes, 0 to "
                f"{len(self.names) - 1}. Mend the label, or give class_names with all classes."
            )
        raise ConfigError(
            f"{where()}: {label!r} is not among the {len(self.names)} class names."
            f"{did_you_mean(label, self.ids)} Rename it or add it to class_names. "
            f"Known: {shown(self.names)}."
        )


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: If it is not UTF-8; names the file and the line.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 text ({error.reason}). Save the file as UTF-8."
        ) from None
