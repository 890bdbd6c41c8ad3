"""HostReads: counts tensor operations, and the places where Python waits for a tensor's value."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from basetrainer._torch_private import OPTIMIZER_READ, DispatchMode, check_dispatch_mode

_READING_OPS = frozenset(
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",  # item(), float(), int(), bool(), range(), if tensor:
        *("equal", "allclose"),  # return a bool
        # The shape of what these return is a value of the tensor.
        *("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"),
    )
)
_READING_METHODS = {
    "tolist": "tolist()",
    "numpy": "numpy()",
    "__array__": "numpy.asarray()",
    "__dlpack__": "__dlpack__()",
    "__repr__": "str()",
    "__format__": "format()",
}
"""Methods that no operation stands for: on a CPU they go straight to the memory."""

_SKIPPED = (str(Path(torch.__file__).parent), __file__)


@dataclass(frozen=True)
class HostRead:
    """One value that Python waited for."""

    what: str
    """The operation (``aten::_local_scalar_dense``) or the method (``tolist()``)."""

    place: str
    """The line of code outside torch: ``trainer.py, line 12, in run_step``."""


class HostReads:
    """While entered, counts operations on tensors and reads of their values.

    A read makes the host wait until the device has done all that it was given, on a GPU tens of
    microseconds each time; on a CPU it costs little, but is counted all the same, so that a
    machine without a GPU finds it::

        with HostReads() as found:
            trainer.train_step(batch)
        assert not found.reads, found.reads

    Seen is whatever this thread does, backward passes included: ``item()``, ``float()``,
    ``int()``, ``bool()``, ``if tensor:``, ``tolist()``, ``numpy()``, ``str()``, f-strings,
    ``torch.equal``, ``nonzero``, masks as indices, ``unique``, and blocking copies from an
    accelerator to the CPU. The step counts of torch's optimizers, which they keep on the CPU, are
    not reads.

    Not seen: what other threads and processes do; memory that was shared before, such as a
    NumPy array made outside the block; ``data_ptr()`` and whatever C, C++ or Triton code reads
    through it; what ``torch.compile`` has compiled; waits that are no read, such as
    ``torch.cuda.synchronize()``; operations that wait inside of themselves on some devices.

    Attributes:
        ops: How often each operation (``aten::addmm``) was done.
        reads: Each read, in order.

    Raises:
        BaseTrainerError: If this version of torch does not show its operations.
    """

    def __init__(self) -> None:
        check_dispatch_mode("HostReads")
        self.ops: Counter[str] = Counter()
        self.reads: list[HostRead] = []
        self._is_paused = False
        self._stack = ExitStack()

    @property
    def num_ops(self) -> int:
        """Operations in all."""
        return self.ops.total()

    def __enter__(self) -> HostReads:
        self._stack.enter_context(_Operations(self))
        self._stack.enter_context(_Methods(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """While entered, count nothing: for what may read, such as a loader or a log point."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def _note_op(self, name: str, is_read: bool) -> None:
        if not self._is_paused:
            self.ops[name] += 1
            if is_read and not _is_own_count():
                self.reads.append(HostRead(name, _place()))


class _Operations(DispatchMode):  # type: ignore[misc] # torch has no types here
    """Sees every operation, whoever asks for it."""

    def __init__(self, found: HostReads) -> None:
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        name: str = func.name().partition(".")[0]
        is_read = name in _READING_OPS or _has_mask(name, args) or _is_copied_back(args, returned)
        self._found._note_op(name, is_read and not (kwargs or {}).get("non_blocking"))
        return returned


class _Methods(TorchFunctionMode):
    """Sees the methods that read without an operation."""

    def __init__(self, found: HostReads) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        what = _READING_METHODS.get(getattr(func, "__name__", ""))
        if what is None or not isinstance(args[0], Tensor):
            return func(*args, **(kwargs or {}))
        found = self._found
        if not found._is_paused:
            found.reads.append(HostRead(what, _place()))
        with found.pausing():  # once is enough
            return func(*args, **(kwargs or {}))


def _has_mask(name: str, args: Any) -> bool:
    """Whether an index is a mask, whose true values must be counted."""
    if name not in ("aten::index", "aten::index_put", "aten::index_put_") or len(args) < 2:
        return False
    masks = (torch.bool, torch.uint8)
    return any(isinstance(index, Tensor) and index.dtype in masks for index in args[1])


def _is_copied_back(args: Any, returned: Any) -> bool:
    """Whether an operation brought a tensor of an accelerator to the CPU."""
    if not isinstance(returned, Tensor) or returned.device.type != "cpu":
        return False
    return any(isinstance(one, Tensor) and one.device.type not in ("cpu", "meta") for one in args)


def _is_own_count() -> bool:
    """Whether one of torch's optimizers reads its step count, a tensor on the CPU in any case."""
    frame: FrameType | None = sys._getframe(3)
    while frame is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        if frame.f_code.co_name == OPTIMIZER_READ:
            return True
        frame = frame.f_back
    return False


def _place() -> str:
    """Return the innermost line of code that is neither torch's nor of this file."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        frame = frame.f_back
    code = frame.f_code
    return f"{Path(code.co_filename).name}, line {frame.f_lineno}, in {code.co_name}"
