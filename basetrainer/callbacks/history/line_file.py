"""LineFile: a text file that grows by whole lines and can be taken back to an earlier epoch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path

from basetrainer.utils.file_utils import write_atomically

logger = logging.getLogger(__name__)


class LineFile:
    """A file with a line per epoch, which several runs may go on with.

    Each line is in the file when :meth:`append` returns, so a killed run loses the current one at
    most; what it left of that one is cut off when the file is opened again. Lines for which the
    disk has no room are one warning, and come with the next one that it takes.

    Args:
        path: The file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: list[bytes] = []
        self._whole: bytes | None = None  # what is to stand in place of the file
        self._is_told = False
        self._keep(lambda line: line.endswith(b"\n"))

    def append(self, line: str) -> None:
        """Add one line, whose end is already there."""
        self._held.append(line.encode())
        self._write()

    def replace(self, text: str) -> None:
        """Let the file, in one go, have other lines; those that waited for room are dropped."""
        self._whole = text.encode()
        self._held.clear()
        self._write()

    def text(self) -> str:
        """Return what is in the file, lines that wait for room included; "" if there is none."""
        whole = self._whole
        if whole is None:
            whole = self.path.read_bytes() if self.path.exists() else b""
        return b"".join([whole, *self._held]).decode()

    def _write(self) -> None:
        data = b"".join(self._held)
        try:
            if self._whole is not None:
                whole = self._whole + data
                write_atomically(self.path, lambda file: file.write(whole), len(whole))
            else:
                self._add(data)
        except OSError as error:
            if not self._is_told:
                reason = error.strerror or error
                logger.warning("%s: %s; lines wait in memory for room", self.path, reason)
            self._is_told = True
        else:
            self._held.clear()
            self._whole, self._is_told = None, False

    def _add(self, data: bytes) -> None:
        """Write at the file's end: whole lines or none."""
        # Opened for each line, and without a buffer: nothing waits to be written.
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write_all(file, data)
            except OSError:
                file.truncate(size)
                raise

    def rewind(self, epoch: int, epoch_of: Callable[[bytes], int | None]) -> None:
        """Cut the last lines, as far as they tell of ``epoch`` or a later one.

        Args:
            epoch: The first epoch that is to be trained again.
            epoch_of: Returns the epoch of a line; None for one that tells of none.
        """

        def is_earlier(line: bytes) -> bool:
            told = epoch_of(line)
            return told is None or told < epoch

        self._keep(is_earlier)

    def _keep(self, is_kept: Callable[[bytes], bool]) -> None:
        """Cut lines off the end until there is one to keep."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        size = whole = sum(map(len, lines))
        while lines and not is_kept(lines[-1]):
            size -= len(lines.pop())
        if size < whole:
            os.truncate(self.path, size)  # in one go: the file is never half cut


def _write_all(file: RawIOBase, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]  # a disk that is almost full takes a part


def put_aside(path: Path) -> None:
    """Rename a file, if there is one, to the first free of ``NAME-1``, ``NAME-2``, ..."""
    if not path.exists():
        return
    number = 1
    while (kept := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)
