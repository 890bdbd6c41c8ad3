"""RunLock: one run at a time in one folder."""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from basetrainer.errors import ConfigError
from basetrainer.utils.posix import is_alive, start_of

logger = logging.getLogger(__name__)

NAME = "run.lock"
HEARTBEAT = 30.0
"""Seconds between two signs of life."""

STALE = 10 * HEARTBEAT
"""Seconds without one, after which a run on another machine counts as dead."""


class RunLock:
    """Keeps other runs out of a folder while this one writes there.

    The file ``run.lock`` says who runs: host, process, start. A holder that was killed on this
    machine is noticed at once, one on another machine when its heartbeat, the file's time of
    change, is five minutes old.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._done = threading.Event()
        self._mine = ""
        self._is_held = False

    def acquire(self) -> None:
        """Take the lock, or say who has it.

        Raises:
            ConfigError: If another run is at work in the folder; names it.
        """
        me = {
            "host": platform.node(),
            "pid": os.getpid(),
            "process_start": start_of(os.getpid()),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        self._mine = json.dumps(me)
        for _ in range(3):
            try:
                with self._path.open("x", encoding="utf-8") as file:
                    file.write(self._mine)
                break
            except FileExistsError:
                self._take_over()
        else:
            raise ConfigError(
                f"{self._path} comes back as often as it is taken away: two runs start in this "
                f"folder at once. Start one of them."
            )
        self._is_held = True
        threading.Thread(target=self._beat, name="run.lock", daemon=True).start()

    def release(self) -> None:
        """Give the lock back, if it was taken and is still ours."""
        self._done.set()
        try:
            if self._is_held and self._path.read_text(encoding="utf-8") == self._mine:
                self._path.unlink()
        except OSError:
            pass  # the folder is gone: nobody can run there

    def _take_over(self) -> None:
        """Put the lock of a dead run away; raise if it lives."""
        try:
            age = time.time() - self._path.stat().st_mtime
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return  # given back in this moment
        holder = _parse(text)
        if _lives(holder, age):
            raise self._refusal(holder)
        # Renamed, not removed: if another run took it over meanwhile, it is that one's now.
        aside = self._path.with_name(f".{NAME}-{os.getpid()}")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return
        if aside.read_text(encoding="utf-8") != text:
            aside.rename(self._path)
            raise self._refusal(_parse(self._path.read_text(encoding="utf-8")))
        aside.unlink()

    def _refusal(self, holder: dict[str, Any] | None) -> ConfigError:
        who = (
            f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
            if holder
            else "a process that is just starting"
        )
        return ConfigError(
            f"Another run is at work in {self._path.parent}: {who}. Two runs in one folder would "
            f"destroy each other's files. Wait for it or end it, or give this run a work_dir of "
            f"its own."
        )

    def _beat(self) -> None:
        is_told = False
        while not self._done.wait(HEARTBEAT):
            try:
                os.utime(self._path)
            except OSError as error:
                # A network disk may fail for a moment: without a heartbeat another machine would
                # take the folder over.
                if not is_told and not self._done.is_set():
                    is_told = True
                    logger.warning(
                        "%s: its heartbeat failed (%s) and is tried again every %g s. After %g s "
                        "without one, a run on another machine may take this folder.",
                        self._path,
                        error.strerror or error,
                        HEARTBEAT,
                        STALE,
                    )


def _lives(holder: dict[str, Any] | None, age: float) -> bool:
    """Whether the holder of a lock is at work; ``age`` is the seconds since its last sign."""
    if holder is None:
        return age < HEARTBEAT  # empty: being written, or its writer was killed
    if holder["host"] != platform.node():
        return age < STALE
    return is_alive(holder["pid"]) and start_of(holder["pid"]) == holder["process_start"]


def _parse(text: str) -> dict[str, Any] | None:
    try:
        holder = json.loads(text)
        found = {key: holder[key] for key in ("host", "pid", "process_start", "since")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if type(found["pid"]) is int else None
