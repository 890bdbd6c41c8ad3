"""Folders, copies, time stamps and whole-or-nothing writes: the file helpers that users import."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from basetrainer.errors import ConfigError
from basetrainer.utils.disk import KeptFile, explained, free_bytes

logger = logging.getLogger(__name__)

START_TIME_VARIABLE = "BASETRAINER_START_TIME"
"""Environment variable with the start of the job in ISO format; set by ``launch()``."""


def create_dir(
    dir: str | os.PathLike[str],
    sub: str | os.PathLike[str] | None = None,
    file: str | os.PathLike[str] | None = None,
) -> str:
    """Create the folder ``dir/sub`` with its parents, and return the path of ``file`` in it.

    Args:
        dir: The folder; it may exist already.
        sub: A folder inside it; none by default.
        file: A file name to append to what is returned; the file is not created.

    Returns:
        ``dir[/sub][/file]``.

    Raises:
        ConfigError: If the folder cannot be made or not be written to; names path and reason.
    """
    folder = Path(dir, sub) if sub else Path(dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = "a file has that name" if isinstance(error, FileExistsError) else None
        raise ConfigError(_unwritable(folder, in_the_way or str(error.strerror))) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(_unwritable(folder, "permission denied"))
    return str(folder / file) if file else str(folder)


def _unwritable(folder: Path, reason: str) -> str:
    return (
        f"cannot write to the folder {str(folder)!r}: {reason}. "
        f"Choose another folder (the setting work_dir), or make this one writable."
    )


def copy_file_to_dir(file: str | os.PathLike[str] | None, dir: str | os.PathLike[str]) -> str:
    """Copy ``file`` into the folder ``dir``, which is made if needed.

    A copy is a convenience, never worth a training: if there is no such file, one warning says
    so. A file that lies in the folder already is left alone.

    Args:
        file: The file; None counts as missing.
        dir: The folder to copy to.

    Returns:
        The path of the copy, or ``""`` if there was nothing to copy.

    Raises:
        ConfigError: If the folder cannot be made or not be written to.
        OSError: If the file cannot be read or the copy not be written.
    """
    if not file or not Path(file).is_file():
        logger.warning("There is no file %r to copy to %r; going on without it.", file, str(dir))
        return ""
    copy = create_dir(dir, file=Path(file).name)
    if not (Path(copy).exists() and Path(copy).samefile(file)):
        shutil.copy(file, copy)
    return copy


def get_time(format: str = "p") -> str:
    """Return a time stamp for names of files and folders, in local time.

    If the environment variable ``BASETRAINER_START_TIME`` is set, it is the stamp of that
    instant, so that all processes and restarts of a job agree.

    Args:
        format: ``"p"`` gives ``YYYYmmdd_HHMMSS_ffff`` (ffff: ten-thousandths of a second),
            ``"s"`` gives ``YYYYmmdd_HHMMSS``.

    Raises:
        ConfigError: If the format is another, or the variable holds no ISO time.
    """
    if format not in ("p", "s"):
        raise ConfigError(
            f"get_time: there is no format {format!r}. "
            f"Use 'p' (20260131_120000_0000) or 's' (20260131_120000)."
        )
    moment = _start_time() or datetime.now()
    stamp = moment.strftime("%Y%m%d_%H%M%S")
    return f"{stamp}_{moment.microsecond // 100:04d}" if format == "p" else stamp


def _start_time() -> datetime | None:
    """Return the start of the job in local time, if ``launch()`` has set it."""
    text = os.environ.get(START_TIME_VARIABLE)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"The environment variable {START_TIME_VARIABLE} holds {text!r}, which is no ISO "
            f"time. Remove it, or write e.g. 2026-01-31T12:00:00."
        ) from error
    return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment


def remove_prefix_files(dir: str | os.PathLike[str], prefix: str) -> None:
    """Remove the files, not the folders, of ``dir`` whose names match a pattern.

    Args:
        dir: The folder; if there is none, nothing happens.
        prefix: A shell pattern such as ``"best*"``; without a wildcard it is a whole name.

    Raises:
        OSError: If a file cannot be removed.
    """
    if not Path(dir).is_dir():
        return
    for path in Path(dir).iterdir():
        if fnmatch.fnmatch(path.name, prefix) and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)  # another process may have been faster


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[BinaryIO], object], num_bytes: int = 0
) -> None:
    """Write a file so that under its name there is always the old or the new one, whole.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and the file is
    then renamed. If anything fails, the temporary file is removed and the old one is as it was.

    Args:
        path: The file to write; its folder must exist.
        write: Called once with the open temporary file; what it returns is dropped.
        num_bytes: How much it will write at least, if that is known.

    Raises:
        StorageError: If there is no room; names ``path``, the bytes needed and those free.
        OSError: If the file cannot be written for another reason; of the class of the original
            error, but naming ``path``. What ``write`` raises besides is passed on.
    """
    target = Path(path)
    temporary = _temporary(target)
    try:
        if num_bytes > free_bytes(target.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 # told below
        # Not tempfile: its files are readable by their owner only, and would stay so.
        with temporary.open("xb") as file:
            kept = KeptFile(file)
            with kept.told():
                write(cast(BinaryIO, kept))
                file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise explained(error, target, num_bytes) from error


def write_or_warn(path: Path, text: str) -> bool:
    """Write a text as :func:`write_atomically` does, and return whether that could be done.

    A failure is one warning: for what is told beside a training, which is never worth ending it.
    """
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as error:
        logger.warning("%s", error)
        return False
    return True


def copy_atomically(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Copy a file so that under the new name there is always the old or the new one, whole.

    It never becomes a hard link: whoever changes one in place does not change the other. Where the
    file system can (Btrfs, XFS), both share their blocks until one is changed.

    Args:
        source: The file.
        path: The copy; a file there is replaced.

    Raises:
        StorageError: If there is no room for it.
        OSError: If it cannot be copied for another reason.
    """
    original = Path(source)
    write_atomically(path, lambda file: _copy_bytes(original, file), original.stat().st_size)


def _copy_bytes(source: Path, copy: BinaryIO) -> None:
    size, copied = source.stat().st_size, 0
    with source.open("rb") as original:
        if hasattr(os, "copy_file_range"):  # in the kernel, without taking new blocks if it can
            with contextlib.suppress(OSError):  # not on every file system
                while part := os.copy_file_range(
                    original.fileno(), copy.fileno(), size, copied, copied
                ):
                    copied += part
        if copied < size:
            original.seek(copied)
            copy.seek(copied)
            shutil.copyfileobj(original, copy, 1 << 20)


def remove_stale_temporaries(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left half-written; no writer may be at work in the folder."""
    for path in Path(folder).glob(f"{_PREFIX}*.tmp"):
        path.unlink(missing_ok=True)


_PREFIX = ".basetrainer-"


def _temporary(target: Path) -> Path:
    return target.with_name(f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}.tmp")
