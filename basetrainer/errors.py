"""The exceptions of basetrainer, each also the built-in that a caller would expect.

    BaseTrainerError
      +-- ConfigError (ValueError)        a setting is missing, of the wrong type or impossible
      |     +-- UnknownNameError          a name that no builder knows
      +-- DataError (ValueError)          an image or a list file cannot be read
      |     +-- AnnotationError           labels of images are wrong; all faults are listed
      +-- LoaderError (RuntimeError)    a loader worker died or cannot go on
      +-- UsageError (TypeError)          a method returned what the engine cannot use
      +-- NonFiniteError (ArithmeticError)  a loss became NaN or infinite
      +-- CheckpointError (RuntimeError)  a file of weights cannot be read or does not fit
      +-- StorageError (OSError)        a checkpoint cannot be written
      +-- OutOfMemoryError (MemoryError)  a step needs more memory than there is
      +-- DryRunError (RuntimeError)    a dry run found what would end the real one
      +-- Preempted                     a signal ended the run; started again, it goes on
      +-- PruningError (RuntimeError)     a network cannot be pruned; it is as it was
      +-- LaunchError (RuntimeError)      a process of the job failed
      +-- MissingExtraError (ImportError) an optional package is not installed

The engine raises them; only ``launch()`` and the command line turn them into exit codes.
"""

from __future__ import annotations


class BaseTrainerError(Exception):
    """Anything that basetrainer itself finds wrong."""

    exit_code = 1
    """What ``launch()`` and the command line exit with."""

    stack = ""
    """The lines of the user's own code that led to it in another process, if they tell more."""


class ConfigError(BaseTrainerError, ValueError):
    """A setting is missing, of the wrong type or impossible: key, value and mend are named."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that no builder knows; the message lists the nearest and all known ones."""


class DataError(BaseTrainerError, ValueError):
    """A file of the data cannot be read; the message names it."""

    def __init__(self, message: str = "") -> None:
        # Out of a loader worker torch makes the message anew, with a traceback before ours.
        super().__init__(message.rpartition(f"{__name__}.DataError: ")[2].rstrip())


class AnnotationError(DataError):
    """Labels of images are wrong; the message lists all faults, each with its file and line."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(message.rpartition(f"{__name__}.AnnotationError: ")[2])


class LoaderError(BaseTrainerError, RuntimeError):
    """A loader worker died or cannot go on; the message says of what, and how to mend it."""


class UsageError(BaseTrainerError, TypeError):
    """A method that the user wrote returned what the engine cannot use."""

    exit_code = 2


class NonFiniteError(BaseTrainerError, ArithmeticError):
    """A loss became NaN or infinite; the message names epoch, step and loss."""


class CheckpointError(BaseTrainerError, RuntimeError):
    """A file of weights cannot be read or does not fit the model."""


class StorageError(BaseTrainerError, OSError):
    """A checkpoint cannot be written; the message has the path, the bytes needed and those free."""


class OutOfMemoryError(BaseTrainerError, MemoryError):
    """A step needs more memory than there is; the message says what holds it."""


class Preempted(BaseTrainerError):  # noqa: N818 # it is no fault
    """A signal asked the run to end; it left a checkpoint, and started again it goes on."""

    exit_code = 75


class DryRunError(BaseTrainerError, RuntimeError):
    """A dry run found what would end or spoil the real one; the message lists all of it."""

    exit_code = 2


class PruningError(BaseTrainerError, RuntimeError):
    """A network cannot be pruned as asked; the network that was given is as it was."""


class LaunchError(BaseTrainerError, RuntimeError):
    """A process of the job failed; the message is that of the first one that did."""


class MissingExtraError(BaseTrainerError, ImportError):
    """An optional package is not installed; the message says how to install it."""

    exit_code = 2


def first_line(error: BaseException, at_most: int = 160) -> str:
    """Return the first line of another library's error, for a message: without a full stop."""
    line = str(error).partition("\n")[0] or type(error).__name__
    return line.rstrip(".") if len(line) <= at_most else f"{line[:at_most]}..."
