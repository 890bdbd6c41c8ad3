"""Whose code a traceback leads through: the user's, ours, or that of other packages."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

_OURS = str(Path(__file__).parents[2]) + os.sep
_PACKAGES = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def is_ours(frame: FrameType) -> bool:
    """Whether a frame is of this package."""
    return frame.f_code.co_filename.startswith(_OURS)


def is_users(frame: FrameType) -> bool:
    """Whether a frame is neither of this package nor of an installed one."""
    name = frame.f_code.co_filename
    return not (is_ours(frame) or name.startswith((*_PACKAGES, "<frozen")))


def entries(error: BaseException) -> Iterator[TracebackType]:
    """Yield the entries of an error's traceback, the outermost first."""
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


def shorten(error: BaseException) -> None:
    """Leave two of our frames in an error of the user's: the outermost, and who called the user.

    Frames of the user and of other packages stay. Errors that no frame of the user's takes part
    in stay whole: they are ours. The entries are linked anew, not replaced: Python 3.10 raises an
    error again, at the end of a ``with``, with the entry that it has kept.
    """
    found = list(entries(error))
    if not any(is_users(one.tb_frame) for one in found):
        return
    ours = [one for one in found if is_ours(one.tb_frame)]
    callers = [one for one in ours if one.tb_frame.f_code.co_name != "broadcast"]
    kept = {id(one) for one in (*ours[:1], *callers[-1:])}
    shown = [one for one in found if id(one) in kept or not is_ours(one.tb_frame)]
    for one, following in zip(shown, [*shown[1:], None], strict=True):
        one.tb_next = following
    error.__traceback__ = shown[0]


def users_line(error: BaseException) -> str:
    """Return the user's innermost line, ``train.py, line 12, in run_step``; "" if there is none."""
    found = [one for one in entries(error) if is_users(one.tb_frame)]
    if not found:
        return ""
    code = found[-1].tb_frame.f_code
    return f"{Path(code.co_filename).name}, line {found[-1].tb_lineno}, in {code.co_name}"


def users_stack(error: BaseException, at_most: int = 3) -> str:
    """Return the innermost lines of the user's code that led to an error of ours, as Python does.

    "" if the user's code takes no part; what raised it may be its cause.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    found = [one for one in entries(error) if is_users(one.tb_frame)]
    summaries = traceback.StackSummary.extract(
        ((one.tb_frame, one.tb_lineno) for one in found[-at_most:]), lookup_lines=True
    )
    return "".join(summaries.format()).rstrip()


def users_lines(error: BaseException) -> str:
    """Return the lines that an error of ours carries, of this process or another one."""
    stack = getattr(error, "stack", "")
    return f"{stack}\n" if stack else ""
