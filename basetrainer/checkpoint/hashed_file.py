"""HashedFile: what is written to a file, hashed on the way."""

from __future__ import annotations

import hashlib
import threading
from typing import IO

from basetrainer.utils.disk import KeptFile

_LARGE = 1 << 18
"""Bytes; hashing so many takes longer than starting a thread for it."""


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
        """Write and hash ``data``, both at the same time."""
        rest = memoryview(data)
        self.num_bytes += rest.nbytes
        hashing = None
        if rest.nbytes >= _LARGE:  # both let go of Python's lock
            hashing = threading.Thread(target=self._hash.update, args=(data,))
            hashing.start()
        else:
            self._hash.update(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]  # an unbuffered file may take a part
        finally:
            if hashing is not None:
                hashing.join()
        return memoryview(data).nbytes

    @property
    def sha256(self) -> str:
        """The hash of everything written, in hexadecimal digits."""
        return self._hash.hexdigest()
