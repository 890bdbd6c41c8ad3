"""Order, start and seeds reach torch by public ways: they hold whatever torch calls its parts."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest
import torch.utils.data.dataloader as torchs
from torch.utils.data import BatchSampler, DataLoader, Subset

from basetrainer.data import requests
from basetrainer.data.batches import OrderedBatches
from basetrainer.data.epoch_loader import EpochLoader
from basetrainer.data.loader import build_dataloader
from basetrainer.data.order import TrainOrder
from basetrainer.data.resume import set_position
from basetrainer.errors import LoaderError
from tests.data.pictures import Pictures, Stream, digest, quiet_workers
from tests.tiny import tiny_data

pytestmark = quiet_workers


def renamed(**names: str) -> Any:
    """Torch's loader as a version would have it that calls some of its parts by other names."""
    source = inspect.getsource(torchs)
    for name, other in names.items():
        assert name in source
        source = source.replace(name, other)
    module = ModuleType(torchs.__name__)
    exec(compile(source, str(torchs.__file__), "exec"), vars(module))
    return module.DataLoader


def test_torchs_private_property_is_not_needed(monkeypatch):
    def found(**options: Any) -> list[str]:
        loaders = [
            build_dataloader(Pictures(24), 4, 1, multiprocessing_context="fork", **options),
            build_dataloader(Pictures(24), 4, 0, sampler=range(24), pin_memory=False),
            build_dataloader(Subset(Pictures(24), range(9)), 2, 1, multiprocessing_context="fork"),
        ]
        hashes = []
        for loader in loaders:
            for epoch, step in ((0, 0), (1, 3)):
                set_position(loader, epoch, step)
                hashes.append(digest(loader))
            loader.close()
        return hashes

    expected = found()
    other: Any = renamed(_index_sampler="_index_source", _iterator="_kept")
    assert not hasattr(other, "_index_sampler")

    class Asking:
        """As AskingLoader, for a dataset of map style, over the other loader."""

        def __init__(self, batches: Any, dataset: Any, options: Any, *, is_collated: bool) -> None:
            assert is_collated
            options = {name: one for name, one in options.items() if name not in requests._ORDER}
            self._loader = other(dataset, batch_sampler=batches, **options)

        def __iter__(self) -> Any:
            return iter(self._loader)

    monkeypatch.setattr("basetrainer.data.epoch_loader.AskingLoader", Asking)
    monkeypatch.delattr(DataLoader, "_index_sampler")
    assert found() == expected


def test_a_torch_that_asks_for_indices_elsewhere_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(DataLoader, "__iter__", lambda self: iter([]))
    loader = build_dataloader(Stream(6), 2, 0)
    with pytest.raises(LoaderError, match="does not ask the loader's batch_sampler"):
        iter(loader)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_keeps_the_samplers_and_length_that_it_was_given(workers):
    loader = build_dataloader(tiny_data(), 5, workers, drop_last=False)
    assert isinstance(loader.sampler, TrainOrder)
    assert (loader.batch_size, loader.drop_last, len(loader)) == (5, False, 3)
    assert len(list(loader)) == 3
    assert isinstance(loader.batch_sampler, BatchSampler)
    loader.close()


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_is_asked_with_seeds(batch_size, workers):
    loader = EpochLoader(Stream(6), batch_size=batch_size, num_workers=workers)
    asking = loader._asking_loader()
    assert (asking.batch_sampler if batch_size else asking.sampler) is loader._batches
    assert (asking.batch_sampler is None) == (batch_size is None)
    seen = set()
    for epoch in (0, 1, 0):
        set_position(loader, epoch, 0)
        seen.add(digest(one if batch_size else one[1:] for one in loader))
    assert len(seen) == 2
    loader.close()


def test_an_option_changed_on_the_loader_counts_from_the_next_pass_on():
    loader = build_dataloader(tiny_data(), 4, 1, persistent_workers=False)
    loader.collate_fn = len
    assert list(loader) == [4, 4, 4]


def test_batches_know_whether_somebody_asked():
    batches = OrderedBatches(TrainOrder(12, 4))
    assert not batches.is_asked
    assert len(list(batches)) == 3
    assert batches.is_asked
