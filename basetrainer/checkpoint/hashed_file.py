"""HashedFile: what is written to a file, hashed on the way."""

from __future__ import annotations

import hashlib
from typing import IO

from basetrainer.utils.disk import KeptFile


class HashedFile(KeptFile):
    """Writes to ``file`` and hashes what goes through.

    Args:
        file: Open for writing in binary mode.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write and hash ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]  # an unbuffered file may take a part
        self._hash.update(data)
        num_bytes = memoryview(data).nbytes
        self.num_bytes += num_bytes
        return num_bytes

    @property
    def sha256(self) -> str:
        """The hash of everything written, in hexadecimal digits."""
        return self._hash.hexdigest()
