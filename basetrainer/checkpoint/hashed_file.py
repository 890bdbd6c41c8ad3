"""HashedFile: what is written to a file, hashed on the way, with the error that torch hides."""

from __future__ import annotations

import hashlib
from typing import IO, Any


class HashedFile:
    """Writes to ``file`` and hashes what goes through.

    ``torch.save`` answers a full disk with an error of its own zip writer; the error of the
    system is kept in ``error``.

    Args:
        file: Open for writing in binary mode.
    """

    def __init__(self, file: IO[Any]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.num_bytes = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write and hash ``data``."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]  # an unbuffered file may take a part
        except OSError as error:
            self.error = error
            raise
        self._hash.update(data)
        num_bytes = memoryview(data).nbytes
        self.num_bytes += num_bytes
        return num_bytes

    def flush(self) -> None:
        """Hand everything to the system."""
        self._file.flush()

    @property
    def sha256(self) -> str:
        """The hash of everything written, in hexadecimal digits."""
        return self._hash.hexdigest()
