"""Set up logging for an application: the console, a file, one line form."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from basetrainer._names import nearest
from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import create_dir

PACKAGE = "basetrainer"
"""Name of the package's own logger, the default everywhere here."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_MAX_HELD = 1000
_held: list[logging.LogRecord] = []  # lines from before the application set up its logging


def set_logger(
    name: str | None = None,
    level: str | int = "debug",
    logfile: str | os.PathLike[str] | None = None,
    format: str = "simple",
    is_main_process: bool = True,
    rotation: Any = None,
    retention: Any = None,
) -> logging.Logger:
    """Show the lines of a logger on the console (stderr) and append them to a file.

    Lines read ``YYYY-MM-DD HH:MM:SS|INFO   | message``. Called again, it replaces what it has set
    up before; the root logger and handlers of others are left alone. Progress bars of tqdm stay
    below the lines. A record with ``extra={"file_only": True}`` is not shown on the console.

    Args:
        name: Name of the logger; None (the default) is the package's own, so that the library's
            lines show as well as the application's.
        level: Least level that counts: debug (default), info, warning, error or critical in any
            letter case, or a number of Python's logging.
        logfile: The file, UTF-8; its folder is made. None, the default, is no file.
        format: Kept for existing programs: there is one form of line.
        is_main_process: Whether this process does the talking. Where it does not, the console
            shows warnings and errors only and there is no file.
        rotation: Kept for existing programs: a log is never cut.
        retention: Kept for existing programs: a log is never deleted.

    Raises:
        ConfigError: If there is no such level, or the file cannot be written.
    """
    number = _as_level(level)
    handlers: list[logging.Handler] = [_ConsoleHandler()]
    if not is_main_process:
        handlers[0].setLevel(logging.WARNING)
    elif logfile:
        handlers.append(_file_handler(Path(logfile)))
    logger = logging.getLogger(name or PACKAGE)
    for handler in logger.handlers[:]:
        if isinstance(handler, (_ConsoleHandler, _FileHandler)):
            logger.removeHandler(handler)
            handler.close()
    for handler in handlers:
        handler.setFormatter(
            logging.Formatter("%(asctime)s|%(levelname)-7s| %(message)s", "%Y-%m-%d %H:%M:%S")
        )
        logger.addHandler(handler)
    logger.setLevel(number)
    logger.propagate = False
    if logger.name == PACKAGE:
        _replay(logger)
    if is_main_process and (rotation is not None or retention is not None):
        logger.info("rotation and retention are not applied: logs are kept whole.")
    if is_main_process and format != "simple":
        logger.info("format=%r is not applied: lines have the simple form.", format)
    return logger


def get_logger(name: str | None = None) -> logging.Logger:
    """Return the logger ``name``; None, the default, is the package's own."""
    return logging.getLogger(name or PACKAGE)


def as_logger(logger: Any, name: str) -> logging.Logger:
    """Return a logger of Python's logging that hands its lines to ``logger``.

    Args:
        logger: One of Python's logging, which is returned as it is; any object with ``info``, such
            as loguru's, which gets finished texts by ``debug``, ``info``, ``warning`` or ``error``
            (by ``info`` where it has no such method); or None.
        name: Of the logger that is returned for None.

    Raises:
        ConfigError: If the object has no ``info``.
    """
    if logger is None:
        return logging.getLogger(name)
    if isinstance(logger, (logging.Logger, logging.LoggerAdapter)):
        return cast(logging.Logger, logger)
    if not callable(getattr(logger, "info", None)):
        raise ConfigError(
            f"logger: {logger!r} has no method info(text). Pass a logger, such as "
            f"basetrainer.utils.log.get_logger()."
        )
    # Not registered: it is this object's alone.
    handing_on = logging.Logger(name, logging.DEBUG)  # noqa: LOG001
    handing_on.addHandler(_HandOn(logger))
    return handing_on


def show_unless_heard() -> None:
    """Show the package's lines from INFO on where nobody has set up logging.

    An application that has, or has given the package's logger a level, is left alone.
    """
    package = logging.getLogger(PACKAGE)
    if package.level == logging.NOTSET and not _has_listener(package):
        set_logger(level="info")


@contextlib.contextmanager
def early_lines() -> Iterator[None]:
    """Keep the package's lines for the log while the application has not set up its logging.

    Programs read their config first and call :func:`set_logger` afterwards. What is said in the
    block until then comes first in the log; warnings are shown at once as well. Where somebody
    listens already, this does nothing.
    """
    package = logging.getLogger(PACKAGE)
    if _has_listener(package):
        yield
        return
    keeper, level = _Keeper(), package.level
    package.addHandler(keeper)
    package.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        package.removeHandler(keeper)
        package.setLevel(level)


def _has_listener(logger: logging.Logger | None) -> bool:
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _replay(logger: logging.Logger) -> None:
    held, _held[:] = _held[:], []
    for record in held:
        if record.levelno >= logger.level:
            logger.handle(record)


def _as_level(level: str | int) -> int:
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    text = str(level).strip().lower()
    if text in _LEVELS:
        return _LEVELS[text]
    if text.isdecimal():
        return int(text)
    near = nearest(text, _LEVELS)
    hint = f"Did you mean {near!r}? " if near else ""
    raise ConfigError(
        f"set_logger: there is no level {level!r}. {hint}Choose one of {', '.join(_LEVELS)}."
    )


def _file_handler(path: Path) -> _FileHandler:
    create_dir(path.parent)
    try:
        return _FileHandler(path, mode="a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"logfile: cannot write to {str(path)!r}: {error.strerror}. "
            f"Give the name of a file that may be written."
        ) from error


class _FileHandler(logging.FileHandler):
    """The file that :func:`set_logger` has opened; a class of its own to be told from others."""

    is_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # of logging
        """Say once that the disk is full; Python's way is a traceback for each line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.is_told and sys.stderr is not None:
            self.is_told = True
            reason = error.strerror or error
            _write_line(sys.stderr, f"warning: {self.baseFilename}: {reason}; the log has gaps")

    def close(self) -> None:
        """Close the file, whatever it still could not take."""
        with contextlib.suppress(OSError):
            super().close()


class _HandOn(logging.Handler):
    """Hands texts to an object that is no logger of Python's."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one line on; braces and percent signs in it are no format."""
        say = getattr(self._target, record.levelname.lower(), self._target.info)
        say(record.getMessage())


class _ConsoleHandler(logging.Handler):
    """Writes to stderr as it is at the time, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, unless it is for the file only."""
        if getattr(record, "file_only", False) or sys.stderr is None:
            return
        try:
            line = self.format(record)
            bars: Any = getattr(sys.modules.get("tqdm"), "tqdm", None)
            if getattr(bars, "_instances", None):
                bars.write(line, file=sys.stderr)
            else:
                _write_line(sys.stderr, line)
        except Exception:  # as every handler: a line that cannot be written ends no training
            self.handleError(record)


def _write_line(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


class _Keeper(logging.Handler):
    """Keeps records for the log, and shows warnings at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; its arguments may change later, so it is turned into text now."""
        record.msg, record.args = record.getMessage(), None
        if record.levelno >= logging.WARNING and sys.stderr is not None:
            _write_line(sys.stderr, f"{record.levelname.lower()}: {record.msg}")
            record.file_only = True  # seen once
        if len(_held) < _MAX_HELD:
            _held.append(record)
