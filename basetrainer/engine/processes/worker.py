"""What one process of a launched run does: run as one rank, and tell how it ended."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

from basetrainer.engine.processes.process_group import run_in_group
from basetrainer.engine.processes.rank_reports import Note, Notes
from basetrainer.errors import Preempted
from basetrainer.utils.posix import die_with_parent, start_of

logger = logging.getLogger(__name__)

_SECONDS_TO_REPORT = 1.0


def work(
    folder: str,
    main_func: Callable[..., Any],
    args: Sequence[Any],
    startup_timeout: float,
    stall_timeout: float,
) -> bytes | None:
    """Run ``main_func`` as one rank; leave a note in ``folder`` of how it ended.

    Returns:
        The pickled result of rank 0; None on the others.
    """
    gc.freeze()  # a forked process must not collect what its parent left: half of it is threads
    die_with_parent()
    # A forked process has the launcher's own handlers, which would not end it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rank = int(os.environ["RANK"])
    notes = Notes(folder, int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
    notes.begin(rank, os.getpid(), start_of(os.getpid()))
    try:
        result = run_in_group(
            main_func, args, startup_timeout, stall_timeout, lambda note, _: notes.fail(rank, note)
        )
    except (Preempted, KeyboardInterrupt) as error:
        # To the agent it is a success: it shall not start the processes again.
        notes.leave(Note.of(error, rank))
        # An agent that got the signal, too, no longer answers, which the caller would wait for.
        leave = threading.Timer(_SECONDS_TO_REPORT, os._exit, (0,))
        leave.daemon = True
        leave.start()
        return None
    notes.end(rank)
    if rank != 0 or result is None:
        return None
    try:
        return pickle.dumps(result)
    except Exception as error:
        logger.warning("the result of %s does not pickle (%s): None", main_func, error)
        return None
