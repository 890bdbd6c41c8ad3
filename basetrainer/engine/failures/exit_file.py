"""exit.json: how a run ended, for whoever starts it again."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from basetrainer.checkpoint.run_folder import EXIT
from basetrainer.errors import Preempted, first_line
from basetrainer.utils.file_utils import write_atomically

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""


def exit_code(error: BaseException | None) -> int:
    """Return the code that a program should end with; 0 without an error."""
    if error is None:
        return 0
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return int(getattr(error, "exit_code", 1))


def write_exit_file(engine: Engine, error: BaseException | None = None) -> None:
    """Write ``exit.json`` into the folder of a run that can go on, unless it is there.

    ::

        {"code": 75, "reason": "preempted", "message": "SIGTERM: the run goes on from ...",
         "rank": 0, "epoch": 3, "step": 17, "update": 147, "time": "2026-01-02T03:04:05"}

    ``code`` is what :func:`basetrainer.launch` exits with, also where something else, such as
    ``torchrun``, exits with a code of its own. ``reason`` is ``done``, ``stopped`` (see
    ``message``), ``preempted``, ``interrupted`` or ``failed``. It is removed when the run begins,
    so without it the run is on, or was killed.

    Args:
        engine: Whose run it is; without checkpoints nothing is written.
        error: What ended it; None for a run that came to its end. A failing rank writes itself,
            the first one wins; everything else is written by rank 0.
    """
    checkpointer = engine.checkpointer
    fails = error is not None and not isinstance(error, (Preempted, KeyboardInterrupt))
    if checkpointer is None or not (fails or engine.context.is_main):
        return
    path = checkpointer.folder / EXIT
    if path.exists() or not checkpointer.folder.is_dir():
        return
    reason = "failed"
    if error is None:
        reason = "done" if engine.stop_reason is None else "stopped"
    elif not fails:
        reason = "preempted" if isinstance(error, Preempted) else "interrupted"
    message = engine.stop_reason or "" if error is None else first_line(error)
    told = {
        "code": exit_code(error),
        "reason": reason,
        "message": message,
        "rank": engine.context.rank,
        **engine.position.state_dict(),
        "time": datetime.now().isoformat(timespec="seconds"),
    }
    text = json.dumps(told, indent=1) + "\n"
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as failure:  # it must not hide what ended the run
        logger.warning("%s cannot be written: %s", path, failure)
