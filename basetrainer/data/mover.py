"""Mover: batches go to the device beside the running step, not behind it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from basetrainer.utils.nested import map_tensors, mover_to, tensor_to

_WITH_STREAMS = ("cuda", "xpu")  # types whose module torch.<type> has streams; ROCm is cuda, too


def copies_aside(device: torch.device) -> bool:
    """Whether copies from the host to ``device`` can go on while it computes."""
    return device.type in _WITH_STREAMS


class Mover:
    """Moves batches to one device.

    The host is ahead of the device, but a copy on the stream of the steps starts when all of those
    that were asked for are done; from memory that is not pinned, the host waits for that, too. So
    copies have a stream of their own, where there are streams; the step waits for its own batch
    alone. The memory of a batch is used again when the device is done with it.

    Args:
        device: Where to.
        channels_last: Whether 4-d tensors of images get that memory format (on the device).
    """

    def __init__(self, device: torch.device, *, channels_last: bool = False) -> None:
        self._device = device
        self._copies_aside = copies_aside(device)
        self._move = partial(tensor_to, device=device, channels_last=channels_last)
        self._move_object = mover_to(device)
        self._side: Any = None  # made at the first batch

    def __call__(self, batch: Any) -> Any:
        """Return the batch on the device; every container keeps its type."""
        if not self._copies_aside:
            return map_tensors(batch, self._move, self._move_object)
        streams: Any = torch.get_device_module(self._device)
        if self._side is None:
            self._side = streams.Stream(self._device)
        current = streams.current_stream(self._device)
        copies: list[Tensor] = []

        def moved(tensor: Tensor) -> Tensor:
            # The stream of the steps may still be writing what is on a device, and memory of
            # sparse tensors cannot be told who uses it.
            if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
                with streams.stream(current):
                    return self._move(tensor)
            copies.append(self._move(tensor))
            return copies[-1]

        def moved_object(item: Any) -> Any:
            # It may hold memory that nobody can tell who uses it.
            with streams.stream(current):
                return self._move_object(item)

        with streams.stream(self._side):
            batch = map_tensors(batch, moved, moved_object)
        current.wait_stream(self._side)
        for copy in copies:  # else the next copy could take its memory while the step reads it
            copy.record_stream(current)
        return batch
