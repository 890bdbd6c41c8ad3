"""Manifest: what a checkpoint holds, with a hash of each file and of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from basetrainer.errors import CheckpointError

FORMAT = 1
"""Grows when files of this version can no longer be read by the one before."""

_BARE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


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

    metric: str = ""
    """The name of the figure; "" in checkpoints that were written before it was noted."""

    structure: dict[str, Any] = field(default_factory=dict)
    """That of a pruned network; see :mod:`basetrainer.models.structure`."""

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
        return _encoded(values, _own_hash(values))

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
        # The bytes count as well: 1e-05 and 1E-05 are the same number.
        if not is_whole or data != _encoded(values, own_hash):
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
        for name, is_right in manifest._checks():
            if not is_right:
                raise CheckpointError(f"has an impossible entry {name!r}")
        return manifest

    def is_comparable(self, other: Manifest) -> bool:
        """Whether both figures are of the same metric, as far as is known, and in the same mode."""
        is_same_metric = self.metric == other.metric or not (self.metric and other.metric)
        return is_same_metric and self.larger_is_better == other.larger_is_better

    def _checks(self) -> Iterator[tuple[str, bool]]:
        """Yield whether each entry is of its type: who writes a hash can write anything."""
        numbers = self.position.values() if type(self.position) is dict else ()
        yield "position", "update" in self.position and all(type(one) is int for one in numbers)
        for entry in self.files.values():
            yield "files", type(entry.bytes) is int and type(entry.sha256) is str
        yield "figure", self.figure is None or type(self.figure) in (int, float)
        for name in ("fingerprint", "config", "structure"):
            yield name, type(getattr(self, name)) is dict
        for name in ("ended", "resumed_from"):
            yield name, type(getattr(self, name)) in (str, type(None))
        yield "larger_is_better", type(self.larger_is_better) is bool
        yield "metric", type(self.metric) is str
        yield "written", type(self.written) is str


def _encoded(values: dict[str, Any], own_hash: str) -> bytes:
    return json.dumps({**values, "sha256": own_hash}, indent=1, sort_keys=True).encode()


def _own_hash(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
