"""Old door: a TensorBoard writer that does nothing where there is no folder."""

from __future__ import annotations

from typing import Any

__all__ = ["SummaryWriter"]


class SummaryWriter:
    """Writes to TensorBoard, or nowhere: ``SummaryWriter(log_dir if is_main_process else None)``.

    Args:
        log_dir: Where the event files go; None or "" writes nothing.
        *args: Handed to torch's writer.
        **kwargs: Likewise.

    Attributes:
        tensorboard: torch's writer, or None.
    """

    def __init__(self, log_dir: str | None, *args: Any, **kwargs: Any) -> None:
        self.tensorboard: Any = None
        if log_dir:
            from torch.utils import tensorboard

            self.tensorboard = tensorboard.SummaryWriter(log_dir, *args, **kwargs)

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Write one number: tag, value, step."""
        self._call("add_scalar", *args, **kwargs)

    def add_scalars(self, *args: Any, **kwargs: Any) -> None:
        """Write several numbers into one chart: tag, dict, step."""
        self._call("add_scalars", *args, **kwargs)

    def add_image(self, *args: Any, **kwargs: Any) -> None:
        """Write one image: tag, tensor, step."""
        self._call("add_image", *args, **kwargs)

    def flush(self) -> None:
        """Bring everything to the disk."""
        self._call("flush")

    def close(self) -> None:
        """Close the file."""
        self._call("close")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        if self.tensorboard is not None:
            getattr(self.tensorboard, name)(*args, **kwargs)
