"""Where in the data a run is, whoever made the loader: placing it, and what can be promised."""

from __future__ import annotations

from typing import Any

from basetrainer.data.placed import EPOCH_START, Placed, lengths


def set_epoch(loader: Any, epoch: int) -> None:
    """Place the next pass over a loader at the beginning of ``epoch``."""
    set_position(loader, epoch, 0)


def set_position(loader: Any, epoch: int, step: int, state: Any = None) -> int:
    """Let the next pass over a loader be that of ``epoch`` from batch ``step`` on.

    Nothing before it is made, and only that one pass is shortened. A sampler, batch sampler or
    dataset of the user's that has ``set_epoch`` is told the epoch.

    Args:
        loader: A loader, or an :class:`~basetrainer.data.stream.EpochStream`.
        epoch: From 0.
        step: Batches of this process that are done.
        state: What :func:`position_state` returned for that place.

    Returns:
        The batch that will come first: ``step``, or 0 where :func:`resume_promise` says that the
        data can only start anew.
    """
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
        getattr(loader, "dataset", None),
    )
    for listener in {id(part): part for part in parts}.values():
        if callable(tell := getattr(listener, "set_epoch", None)):
            tell(epoch)
    return loader.set_position(epoch, step, state) if isinstance(loader, Placed) else 0


def position_state(loader: Any, epoch: int, step: int) -> dict[str, Any]:
    """Return what a place in the data needs beside its two numbers, to be saved with them.

    Args:
        loader: A loader, or an :class:`~basetrainer.data.stream.EpochStream`.
        epoch: From 0.
        step: Batches of this process that are done; some more may have been read ahead.
    """
    return loader.position_state(epoch, step) if isinstance(loader, Placed) else {}


def resume_promise(loader: Any) -> tuple[str, str]:
    """Return how exactly a run over this loader can go on in the middle of an epoch.

    Returns:
        ``("bit-exact", "")``, or ``("from the epoch's start", why)``.
    """
    if isinstance(loader, Placed):
        return loader.promise()
    return EPOCH_START, "the loader was not made by build_dataloader"


def close_workers(loader: Any) -> None:
    """End at once the workers that a loader of ours keeps for its next pass; it starts new ones."""
    if isinstance(loader, Placed):
        loader.close()


def fingerprint(loader: Any) -> dict[str, int]:
    """Return what must be equal for a place in the data to mean the same batches.

    Of a loader of ours the samples, batches, batch size, processes, seed and what shapes the
    order; of any other what can be known: its lengths, 0 for none.
    """
    return loader.fingerprint() if isinstance(loader, Placed) else lengths(loader)
