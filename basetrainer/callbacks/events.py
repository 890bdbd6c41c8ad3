"""EventFolder: one folder of TensorBoard's event files, with one x axis."""

# pyright: reportAttributeAccessIssue=false
# What protobuf makes at import is seen by no checker.
from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basetrainer.utils.disk import free_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

_LEAST_ROOM = 1 << 20
"""Bytes; with less free, nothing is written any more."""


class EventFolder:
    """Writes events into one folder, all values of a step in one event.

    Args:
        folder: It is made with the first event.
        purge_step: Events of an earlier run in this folder, from this step on, are hidden.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._folder = folder
        self._purge_step = purge_step
        self._writer: SummaryWriter | None = None
        self._is_off = False

    @property
    def writer(self) -> SummaryWriter:
        """The writer of torch, opened at its first use."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # costs a second of imports

            self._writer = SummaryWriter(str(self._folder), purge_step=self._purge_step)
        return self._writer

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write the numbers of one step, each under its tag."""
        self.add([{"tag": tag, "simple_value": value} for tag, value in values.items()], step)

    def add_pictures(self, pictures: Mapping[str, bytes], step: int) -> None:
        """Write PNG files, each under its tag."""
        self.add([{"tag": tag, "image": _image(data)} for tag, data in pictures.items()], step)

    def add(self, values: list[dict[str, Any]], step: int | None = None) -> None:
        """Write one event; each value has the fields of a ``Summary.Value``."""
        if values and not self._is_off:
            from tensorboard.compat.proto.summary_pb2 import Summary

            summary = Summary(value=[Summary.Value(**value) for value in values])
            file: Any = self.writer.file_writer
            with self._off_on_failure():
                file.add_summary(summary, step)

    def flush(self) -> None:
        """Bring every event to the disk."""
        if self._writer is None or self._is_off:
            return
        with self._off_on_failure():
            if free_bytes(self._folder) < _LEAST_ROOM:  # asked here: it writes in a thread
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._off_on_failure():
                writer.close()

    @contextmanager
    def _off_on_failure(self) -> Iterator[None]:
        """Go without the curves where they cannot be written; no run ends because of them."""
        try:
            yield
        except OSError as error:
            if not self._is_off:
                reason = error.strerror or error
                logger.warning("%s: %s; no more curves for TensorBoard", self._folder, reason)
            self._is_off = True


def _image(data: bytes) -> dict[str, Any]:
    """Return the fields of a ``Summary.Image``; a PNG has its size in bytes 16 to 24."""
    width, height = struct.unpack(">II", data[16:24])
    return {"width": width, "height": height, "colorspace": 4, "encoded_image_string": data}
