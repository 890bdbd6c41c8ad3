"""CheckpointStore: a folder of checkpoints, each written whole, verified, and kept or removed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import torch

from basetrainer.checkpoint.hashed_file import HashedFile
from basetrainer.checkpoint.manifest import FileEntry, Manifest
from basetrainer.checkpoint.run_folder import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    checkpoint_name,
    checkpoint_paths,
    update_of,
)
from basetrainer.checkpoint.tree import read_tree, size_of
from basetrainer.errors import CheckpointError, StorageError
from basetrainer.utils.file_utils import copy_atomically, create_dir
from basetrainer.utils.posix import sync_folder

logger = logging.getLogger(__name__)

STATE = "state.pt"
"""The file, in a checkpoint, that holds the state tree."""

_TEMPORARY, _TRASH, _ABANDONED = ".tmp-", ".trash-", "abandoned-"
_READ_BYTES = 1 << 20


class CheckpointStore:
    """A folder of checkpoints.

    A checkpoint is a folder of its own: ``state.pt`` and ``manifest.json``, which has the hash of
    the former and of itself. It is written under a temporary name, flushed to the disk and then
    renamed, so that under its name it is always whole. Older ones are removed only when the new
    one was read back and found right, which a thread does while the training goes on.

    Args:
        folder: Of the checkpoints; made at the first write.
        keep_last: How many of the newest stay.
        keep_best: How many of the best stay besides, by the figure in their manifests.
    """

    def __init__(self, folder: Path, keep_last: int = 2, keep_best: int = 1) -> None:
        self.folder = folder
        self._keep_last = max(1, keep_last)
        self._keep_best = keep_best
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def write(
        self,
        tree: Any,
        manifest: Manifest,
        *,
        in_background: bool = False,
        copies: Sequence[Path] = (),
    ) -> None:
        """Write a checkpoint.

        Args:
            tree: The state; see :func:`~basetrainer.checkpoint.tree.check_tree`.
            manifest: What it is; its ``files`` and ``written`` are filled in here.
            in_background: Whether to return before it is written; nobody may change the tree's
                tensors any more.
            copies: Files that become a copy of the state.

        Raises:
            StorageError: If it, or the one before, cannot be written; the older ones are as they
                were, and nothing half-written stays behind.
        """
        self.wait()
        if in_background:
            self._pending = self._thread.submit(self._write_and_tidy, tree, manifest, copies)
        else:
            self._pending = self._thread.submit(self._tidy, self._write(tree, manifest, copies))

    def wait(self) -> None:
        """Wait until the checkpoint that was written last is whole and verified.

        Raises:
            StorageError: If it could not be written, or is not as it was written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def newest(self) -> Path | None:
        """Return the newest checkpoint, as it is; None if there is none."""
        return next(iter(checkpoint_paths(self.folder)), None)

    def good(self) -> Iterator[tuple[Path, Manifest]]:
        """Yield the verified checkpoints, the newest first; a damaged one is warned of."""
        for path in checkpoint_paths(self.folder):
            try:
                yield path, self.verify(path)
            except CheckpointError as error:
                logger.warning("%s An older checkpoint is used, if there is one.", error)

    @staticmethod
    def verify(path: Path) -> Manifest:
        """Return the manifest of a checkpoint whose files are as they were written.

        Raises:
            CheckpointError: If one is not; names the file and what is wrong with it.
        """
        file = path / MANIFEST
        try:
            manifest = _read_manifest(file)
            for name, entry in manifest.files.items():
                file = path / name
                _verify_file(file, entry)
        except OSError as error:
            raise CheckpointError(f"{file} cannot be read: {error.strerror or error}.") from error
        except CheckpointError as error:
            raise CheckpointError(f"{file} {error}.") from error
        return manifest

    @staticmethod
    def load(path: Path) -> Any:
        """Return the state tree of a verified checkpoint, on the CPU.

        Raises:
            CheckpointError: If it cannot be read.
        """
        try:
            return read_tree(path / STATE)
        except CheckpointError as error:
            raise CheckpointError(f"{path / STATE} cannot be read: {error}.") from error

    def clean(self) -> None:
        """Remove what a killed run left half-written or half-removed; nobody else may run."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.startswith((_TEMPORARY, _TRASH)):
                    shutil.rmtree(path, ignore_errors=True)

    def abandon_after(self, update: int) -> None:
        """Put aside the checkpoints beyond ``update``: the run goes on from there another way."""
        for path in checkpoint_paths(self.folder):
            name = path.name
            if update_of(path) > update:
                aside = path.with_name(f"{_ABANDONED}{name}-{secrets.token_hex(2)}")
                path.rename(aside)
                logger.info("%s is beyond the point to go on from; it is now %s", name, aside.name)

    def _write_and_tidy(self, tree: Any, manifest: Manifest, copies: Sequence[Path]) -> None:
        self._tidy(self._write(tree, manifest, copies))

    def _write(self, tree: Any, manifest: Manifest, copies: Sequence[Path]) -> Path:
        """Write a checkpoint and return its folder."""
        create_dir(self.folder)
        path = self._free_path(manifest.position["update"])
        temporary = self.folder / f"{_TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
        needed = size_of(tree)
        try:
            self._check_space(needed)
            temporary.mkdir()
            entry = _write_file(temporary / STATE, tree)
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            manifest = dataclasses.replace(manifest, files={STATE: entry}, written=now)
            with (temporary / MANIFEST).open("xb") as file:
                file.write(manifest.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            sync_folder(temporary)
            temporary.rename(path)
            sync_folder(self.folder)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise self._storage_error(needed, error.strerror or str(error)) from error
            raise
        _copy(path / STATE, copies)
        return path

    def _tidy(self, path: Path) -> None:
        """Read the new checkpoint back; only if it is right remove old ones."""
        try:
            self.verify(path)
        except CheckpointError as error:
            raise StorageError(
                f"{error} It was written a moment ago: the disk or its connection is faulty. The "
                f"older checkpoints were left alone."
            ) from error
        self._remove_old()

    def _free_path(self, update: int) -> Path:
        number = 0
        while (path := self.folder / checkpoint_name(update, number)).exists():
            number += 1
        return path

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise self._storage_error(needed, "no space left on device")

    def _storage_error(self, needed: int, reason: str) -> StorageError:
        with contextlib.suppress(OSError):
            reason = f"{reason} ({shutil.disk_usage(self.folder).free:,} bytes are free)"
        return StorageError(
            f"No checkpoint could be written to {self.folder}: {reason}; it needs {needed:,} bytes "
            f"and a little more. The older checkpoints are whole. Make room, or lower keep_last "
            f"and keep_best, and start the run again: it goes on from the newest of them."
        )

    def _best(self, paths: Sequence[Path]) -> list[Path]:
        """Return the best checkpoints by the metric of the newest; others cannot be compared."""
        rated: list[tuple[float, int, Path]] = []
        newest: Manifest | None = None
        for path in paths:
            with contextlib.suppress(OSError, CheckpointError):
                manifest = _read_manifest(path / MANIFEST)
                if manifest.figure is not None:
                    newest = newest or manifest
                    sign = -1.0 if newest.larger_is_better else 1.0
                    if manifest.is_comparable(newest):
                        rated.append((sign * manifest.figure, manifest.position["update"], path))
        return [path for *_, path in sorted(rated)[: self._keep_best]]

    def _remove_old(self) -> None:
        """Remove the checkpoints that are neither among the newest nor among the best."""
        paths = checkpoint_paths(self.folder)
        kept = {*paths[: self._keep_last], *self._best(paths)}
        for path in set(paths) - kept:
            # Renamed first: a kill in the middle must not leave half a checkpoint under its name.
            trash = path.with_name(f"{_TRASH}{path.name}-{secrets.token_hex(4)}")
            try:
                path.rename(trash)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", path, error.strerror or error)
            else:
                shutil.rmtree(trash, ignore_errors=True)


def _write_file(path: Path, tree: Any) -> FileEntry:
    with path.open("xb", buffering=0) as file:
        hashed = HashedFile(file)
        with hashed.told():
            torch.save(tree, cast(IO[bytes], hashed))
        os.fsync(file.fileno())
    return FileEntry(hashed.num_bytes, hashed.sha256)


def _copy(state: Path, copies: Sequence[Path]) -> None:
    for copy in copies:
        try:
            copy_atomically(state, copy)
        except OSError as error:
            raise StorageError(
                f"{copy} cannot be written: {error.strerror or error}. The checkpoint that it "
                f"would be a copy of, {state.parent}, is whole: the run goes on from it."
            ) from error


def _check_is_plain(file: Path) -> None:
    """Refuse links, which lead elsewhere, and pipes and devices, which have no end."""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise CheckpointError("is no plain file")


def _read_manifest(file: Path) -> Manifest:
    _check_is_plain(file)
    if file.stat().st_size > MAX_MANIFEST_BYTES:
        raise CheckpointError("is far too large for a manifest")
    manifest = Manifest.from_bytes(file.read_bytes())
    if STATE not in manifest.files:
        raise CheckpointError(f"names no {STATE}")
    return manifest


def _verify_file(path: Path, entry: FileEntry) -> None:
    _check_is_plain(path)
    size = path.stat().st_size
    if size != entry.bytes:
        raise CheckpointError(f"has {size:,} bytes, but {entry.bytes:,} were written")
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            found.update(part)
    if found.hexdigest() != entry.sha256:
        raise CheckpointError("is damaged: its hash is not that of what was written")
