"""What is said of an error that ends a run: where it was, and what held the memory."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from basetrainer._logs import Logs
from basetrainer.checkpoint.tree import size_of, tensors_of
from basetrainer.data.workers import worker_error
from basetrainer.engine.failures.exit_file import write_exit_file
from basetrainer.engine.failures.frames import shorten, users_stack
from basetrainer.engine.position import is_testing, place_of
from basetrainer.engine.processes.rank_reports import is_lost_peer
from basetrainer.engine.processes.watchdog import watched
from basetrainer.errors import BaseTrainerError, OutOfMemoryError, UsageError, first_line

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

_CPU_IS_FULL = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory", re.I)
_MIB = 1 << 20
_INFERENCE = (
    "{error}. A tensor that an evaluation made is trained with, or changed: the model, the loss or "
    "a callback has kept it. Make it in the constructor, or set inference_mode: False."
)
_NO_GRADIENTS = (
    "{error}. Test steps run in torch.inference_mode, where even torch.enable_grad() gives no "
    "gradients. To compute some in one, use torch.enable_grad() and set inference_mode: False."
)


class telling_failures:  # noqa: N801 # used like a function
    """While entered, explain what fails and let ``on_exception`` hear of it, then pass it on.

    A run that stalls fails, too: :mod:`~basetrainer.engine.processes.watchdog` tells it. An error
    of the user's keeps two frames of ours; DEBUG logs the whole traceback.

    Args:
        engine: Whose run it is.
        logs: Of the run.
    """

    def __init__(self, engine: Engine, logs: Logs) -> None:
        self._engine = engine
        self._logs = logs
        self._watched = watched(engine)

    def __enter__(self) -> None:
        self._watched.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watched.__exit__(None, None, None)
        if error is None:
            write_exit_file(self._engine)
            return
        told = explained(error, self._engine)
        if isinstance(told, BaseTrainerError) and not told.stack:
            told.stack = users_stack(error)  # below run(): what called it says nothing
        if not is_lost_peer(told):  # the rank that failed first writes
            write_exit_file(self._engine, told)
        try:
            self._engine.on_exception(told, self._logs)
        except Exception:
            logger.exception("on_exception failed too; the first error follows")
        logger.debug("the whole traceback:", exc_info=error)
        shorten(error)
        if told is not error:
            raise told from error


def explained(error: BaseException, engine: Engine) -> BaseException:
    """Return the error to raise in the place of ``error``, with the place of the run noted.

    Running out of memory becomes an :class:`~basetrainer.errors.OutOfMemoryError` that says what
    holds the memory and what to try, the death of a loader worker a
    :class:`~basetrainer.errors.LoaderError`, training with what an evaluation left, or asking for
    gradients in one, a :class:`~basetrainer.errors.UsageError`; everything else stays itself. If
    torch raised it, a second note has the batch, and what the network makes of it.
    """
    if _is_out_of_memory(error):
        error = OutOfMemoryError(_memory_message(error, engine))
    elif isinstance(error, RuntimeError) and "nference tensor" in str(error):
        error = UsageError(_INFERENCE.format(error=first_line(error)))
    elif _misses_gradients(error, engine):
        error = UsageError(_NO_GRADIENTS.format(error=first_line(error)))
    elif not isinstance(error, BaseTrainerError):
        # Torch's handler of SIGCHLD raises wherever the main process is.
        error = worker_error(error) or error
    if isinstance(error, SystemExit) and engine.context.world_size > 1 and not error.code:
        error.code = 1  # the other ranks wait for this one
    from basetrainer.engine.failures.diagnosis import causes_of  # it imports the engine

    for note in (f"at {place_of(engine)}", " ".join(causes_of(error, engine))):
        if not note:
            continue
        if sys.version_info >= (3, 11):
            error.add_note(f"basetrainer: {note}")
        else:  # it has no notes
            logger.error("basetrainer: %s: %s", note, type(error).__name__)
    return error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, BaseTrainerError):
        return False  # it says so itself
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_CPU_IS_FULL.search(str(error)))


def _misses_gradients(error: BaseException, engine: Engine) -> bool:
    """Whether a test step asked for the gradients that inference mode does not keep."""
    is_asking = isinstance(error, RuntimeError) and "not require grad" in str(error)
    return is_asking and engine.config.inference_mode and is_testing(engine)


def _memory_message(error: BaseException, engine: Engine) -> str:
    shapes = [
        f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        for _, tensor in tensors_of(engine.inputs)
    ]
    held = [f"{name} {size / _MIB:,.0f} MiB" for name, size in _holders(engine) if size]
    return (
        f"Out of memory on {engine.device} at {place_of(engine)}: "
        f"{str(error).partition(chr(10))[0].rstrip('.')}. The batch: "
        f"{', '.join(shapes) or 'not known'}. Held before activations: {', '.join(held)}. "
        f"Checkpoints that were written are whole. Try a smaller batch_size with "
        f"accumulate_steps (the same global batch), amp: bf16, or smaller images."
    )


def _holders(engine: Engine) -> Iterator[tuple[str, int]]:
    """Yield what holds memory, and how many bytes."""
    model = engine.model
    if isinstance(model, nn.Module):
        parameters = list(model.parameters())
        yield "parameters", size_of(parameters)
        yield "buffers", size_of(list(model.buffers()))
        gradients: list[Tensor] = [one.grad for one in parameters if one.grad is not None]
        yield "gradients", size_of(gradients)
    yield "optimizer", size_of([dict(optimizer.state) for optimizer in engine.optimizers])
    yield "callbacks", size_of([_state(callback) for callback in engine.callbacks])
    yield "batch", size_of(engine.inputs)


def _state(callback: Any) -> Any:
    try:
        return callback.state_dict()
    except Exception:  # it may need memory, too
        return {}
