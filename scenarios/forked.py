"""Run something in a forked process, which need not import torch again."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

PREEMPTED = 75


def fork(work: Callable[[], object], log: Path, *, own_session: bool = False) -> int:
    """Fork a process, and return its number.

    Args:
        work: What it does; its exit code is 0, that of the error that ended it, or else 1.
        log: Its stderr goes to the end of this file.
        own_session: Whether it leaves this one's session, so that it can be killed with its own.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if own_session:
            os.setsid()
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        work()
        code = 0
    except SystemExit as error:  # who raised it has said why
        code = int(error.code or 0)
    except BaseException as error:
        code = getattr(error, "exit_code", 1)
        if code != PREEMPTED:
            traceback.print_exc()
    finally:
        os._exit(code)
