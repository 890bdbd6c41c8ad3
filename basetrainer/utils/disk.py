"""What a disk says when it is full, and what is said of it."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from basetrainer.errors import StorageError

NO_ROOM = frozenset(
    number for name in ("ENOSPC", "EDQUOT", "EFBIG") if (number := getattr(errno, name, None))
)
"""What the system says where there is no room, or no more of it for this user."""


def free_bytes(folder: Path) -> int:
    """Return how much can still be written to the disk of a folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return sys.maxsize  # not known: writing will tell


class KeptFile:
    """A file open for writing that keeps the system's error.

    ``torch.save`` answers a full disk with an error of its own zip writer ("unexpected pos ...").

    Args:
        file: Open for writing in binary mode.

    Attributes:
        error: What the system said; None if it took everything.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write ``data``."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Raise the system's error in the place of what was made of it."""
        try:
            yield
        except Exception:
            if self.error is not None:
                raise self.error from None
            raise


def explained(error: OSError, target: Path, num_bytes: int = 0) -> OSError:
    """Return the error to raise in the place of ``error``, which came of writing ``target``.

    Args:
        error: What the system said.
        target: The file.
        num_bytes: What had to be written at least; 0 if that is not known.
    """
    if error.errno in NO_ROOM:
        needs = f" It needs {num_bytes:,} bytes and a little more." if num_bytes else ""
        told = StorageError(
            f"{error.strerror}: {str(target)!r} was not written ({free_bytes(target.parent):,} "
            f"bytes are free).{needs} What was there before is whole. Make room."
        )
        told.errno = error.errno
        return told
    reason = f"the file was not written ({error.strerror or error})"
    if error.errno is None:
        return OSError(f"{reason}: {str(target)!r}")
    return OSError(error.errno, reason, str(target))  # makes the right subclass
