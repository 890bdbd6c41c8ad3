"""Manifest: what a checkpoint holds, with a hash of each file and of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from basetrainer.errors import CheckpointError

FORMAT = 1
"""Grows when files of this version can no longer be read by the one before."""

_BARE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
MAX_BYTES = 64 << 20
"""A manifest is a few kB; larger files are not read."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a checkpoint."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds, readable without loading a tensor."""

    position: dict[str, int]
    """Finished epochs, batches of the running one, updates; see ``Position``."""

    files: dict[str, FileEntry]
    """Size and SHA-256 of each file, by its bare name."""

    fingerprint: dict[str, Any] = field(default_factory=dict)
    """What must be alike for the same bits: data, batch, processes, torch, threads, device."""

    config: dict[str, Any] = field(default_factory=dict)
    """The settings of the run, plain."""

    figure: float | None = None
    """The figure that says which model is best; None if the epoch had none."""

    larger_is_better: bool = True
    """How to compare figures."""

    ended: str | None = None
    """Why the run was ended early for good; None if it was not."""

    resumed_from: str | None = None
    """The checkpoint of another run that this run started from."""

    written: str = ""
    """When, in ISO format."""

    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """Return the file's content; its last entry is a hash of the others."""
        values = dataclasses.asdict(self)
        values["sha256"] = _own_hash(values)
        return json.dumps(values, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what :meth:`to_bytes` returned.

        Raises:
            CheckpointError: If a bit of it is not as it was written, or a name of a file could
                lead out of the checkpoint; says what is wrong, as the predicate of a sentence.
        """
        try:
            values = json.loads(data)
            own_hash = values.pop("sha256")
            is_whole = own_hash == _own_hash(values)
            number = values["format"]
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise CheckpointError("is cut off or no manifest") from error
        if not is_whole:
            raise CheckpointError("is not as it was written")
        if number != FORMAT:
            raise CheckpointError(
                f"has the format {number}; this version reads format {FORMAT}: update basetrainer"
            )
        try:
            files = {name: FileEntry(**entry) for name, entry in values.pop("files").items()}
            manifest = cls(files=files, **values)
        except (TypeError, AttributeError) as error:
            raise CheckpointError("lacks entries, or has unknown ones") from error
        for name in files:
            if not _BARE_NAME.fullmatch(name):
                raise CheckpointError(f"names the file {name!r}, which is no plain file name")
        return manifest


def _own_hash(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
