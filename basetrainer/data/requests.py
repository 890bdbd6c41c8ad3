"""AskingLoader: a DataLoader that asks for batches of indices of ours, by public ways alone."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from basetrainer.data.batches import Batches
from basetrainer.errors import LoaderError

_ORDER = ("batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


class AskingLoader(DataLoader[Any]):
    """What makes the batches of an ``EpochLoader``: torch's loader over its batches of indices.

    A map-style dataset takes them as its ``batch_sampler``, or its ``sampler`` where the items are
    not to be collated. Torch refuses both for an iterable dataset, and makes a sampler of its own:
    here that attribute answers with ours.

    Args:
        batches: What to ask the dataset for.
        dataset: Map-style or iterable.
        is_collated: Whether the items of a request are collated to a batch.
        options: Handed to ``DataLoader``; those that are about the order count for iterable
            datasets only.
    """

    def __init__(
        self, batches: Batches, dataset: Any, options: dict[str, Any], *, is_collated: bool
    ) -> None:
        self._requests: Batches | None = None
        if not isinstance(dataset, IterableDataset):
            options = {name: value for name, value in options.items() if name not in _ORDER}
            if is_collated:
                options["batch_sampler"] = batches
            else:
                options |= {"batch_size": None, "sampler": batches}
        super().__init__(dataset, **options)
        self._requests = batches

    @property
    def batch_sampler(self) -> Any:
        """Our batches of indices, where items are collated; else None."""
        made = vars(self).get("batch_sampler")
        return made if made is None or self._requests is None else self._requests

    @batch_sampler.setter
    def batch_sampler(self, made: Any) -> None:
        vars(self)["batch_sampler"] = made

    @property
    def sampler(self) -> Any:
        """Our requests, where items are not collated; else the sampler that torch made."""
        is_asked = self._requests is not None and self.batch_sampler is None
        return self._requests if is_asked else vars(self).get("sampler")

    @sampler.setter
    def sampler(self, made: Any) -> None:  # pyright: ignore[reportAssignmentType, reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
        vars(self)["sampler"] = made

    def __iter__(self) -> Any:
        """Begin a pass.

        Raises:
            LoaderError: If this version of torch takes the indices from somewhere else.
        """
        batches: Any = self._requests
        batches.is_asked = False
        iterator = super().__iter__()
        if not batches.is_asked:
            raise LoaderError(
                "This version of torch does not ask the loader's batch_sampler for the indices of "
                "an iterable dataset: order and random draws would not be those of the seed. "
                "Use a plain DataLoader for it, or a version of torch that basetrainer was "
                "tested with."
            )
        return iterator
