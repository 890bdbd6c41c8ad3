"""Order and loaders: every sample once, whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import IterableDataset, SequentialSampler, TensorDataset

from basetrainer.data.collation import Collation
from basetrainer.data.loader import build_dataloader, is_dealt, look_ahead, seed_loader
from basetrainer.data.order import DealtOrder, TrainOrder, epoch_order, mix
from basetrainer.data.resume import set_epoch
from basetrainer.datasets.balance import balanced_order, sample_weights
from basetrainer.errors import ConfigError
from tests.tiny import tiny_data

SIZES = {
    "num_samples": st.integers(1, 60),
    "batch": st.integers(1, 9),
    "world": st.integers(1, 4),
}


@given(**SIZES, epoch=st.integers(0, 3), drop_last=st.booleans())
def test_the_ranks_shares_are_those_of_the_global_batches(
    num_samples, batch, world, epoch, drop_last
):
    orders = [
        TrainOrder(num_samples, batch, drop_last=drop_last, rank=rank, world_size=world)
        for rank in range(world)
    ]
    shares = []
    for order in orders:
        order.set_epoch(epoch)
        shares.append(list(order))
        assert len(shares[-1]) == len(order)
    steps = [[share[i : i + batch] for i in range(0, len(share), batch)] for share in shares]
    assert len({len(one) for one in steps}) == 1  # every rank takes the same number of steps
    for order, batches in zip(orders, steps, strict=True):
        if order.filler is not None:  # a sample of another rank, which counts for nothing
            assert len(batches[order.filler]) == 1
            batches[order.filler] = []
    whole = epoch_order(num_samples, 2020, epoch).tolist()
    seen = [sorted(one for part in parts for one in part) for parts in zip(*steps, strict=True)]
    size = batch * world
    expected = [sorted(whole[i : i + size]) for i in range(0, num_samples, size)]
    left_out = drop_last and num_samples % size
    assert seen == (expected[:-1] if left_out else expected)


@given(**SIZES, epoch=st.integers(0, 3), seed=st.integers(0, 9))
def test_the_ranks_share_one_balanced_order(num_samples, batch, world, epoch, seed):
    weights = torch.arange(1.0, num_samples + 1, dtype=torch.float64)
    size = batch * world
    parts = []
    for rank in range(world):
        order = TrainOrder(
            num_samples, batch, rank=rank, world_size=world, seed=seed, weights=weights
        )
        order.set_epoch(epoch)
        parts.append([one.tolist() for one in torch.tensor(list(order)).split(batch)])
        if order.filler is not None:
            parts[-1][order.filler] = []
    seen = [[one for part in step for one in part] for step in zip(*parts, strict=True)]
    whole = balanced_order(weights, num_samples, seed, epoch).tolist()
    steps = [whole[i : i + size] for i in range(0, num_samples, size)]
    assert seen == steps


def test_weights_show_a_rare_class_as_often_as_the_others_whatever_the_position():
    targets = torch.tensor([0] * 90 + [1] * 10)
    data = TensorDataset(targets)
    weights = sample_weights(targets.numpy())

    def epoch_of(number: int) -> torch.Tensor:
        loader = build_dataloader(data, 10, 0, weights=weights)  # made anew, as a resumed run does
        set_epoch(loader, number)
        return torch.cat([labels for (labels,) in loader])

    assert epoch_of(0).bincount().tolist() == [50, 50]
    assert torch.equal(epoch_of(3), epoch_of(3))
    assert not torch.equal(epoch_of(3), epoch_of(4))


def test_a_runs_seed_reaches_the_balanced_order():
    loader = build_dataloader(tiny_data(), 4, 0, weights=torch.ones(12))
    seed_loader(loader, 7)
    expected = balanced_order(torch.ones(12), 12, 7, 0).tolist()
    assert list(loader.sampler) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": torch.ones(11)}, r"shape \(11,\) for a dataset of 12 samples"),
        ({"weights": -torch.ones(12)}, "not negative"),
        ({"weights": torch.ones(12), "shuffle": False}, "shuffle: False"),
        ({"weights": torch.ones(12), "phase": "test"}, "a test loader shows every sample once"),
        ({"weights": torch.ones(12), "sampler": [1, 2]}, "an order of its own"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_dataloader(tiny_data(), 4, 0, **options)


@given(**SIZES, drop_last=st.booleans())
def test_test_batches_are_dealt_whole_and_none_twice(num_samples, batch, world, drop_last):
    options = {"shuffle": False, "drop_last": drop_last, "world_size": world}
    orders = [DealtOrder(num_samples, batch, rank=rank, **options) for rank in range(world)]
    dealt = [
        [list(order.places(number)) for number in range(order.num_batches)] for order in orders
    ]
    for order, batches in zip(orders, dealt, strict=True):
        assert list(order) == [one for places in batches for one in places]
        assert len(order) == sum(map(len, batches))
    everything = [one for rank in dealt for one in rank]
    expected = [one.tolist() for one in torch.arange(num_samples).split(batch)]
    if drop_last and len(expected[-1]) < batch:
        expected.pop()
    assert sorted(everything) == expected


def test_neighbouring_seeds_and_epochs_give_unlike_orders():
    orders = {
        tuple(epoch_order(20, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)
    }
    assert len(orders) == 25
    assert len({mix(a, b) for a in range(50) for b in range(50)}) == 2500


def test_an_epochs_order_does_not_touch_the_global_generator():
    state = torch.random.get_rng_state()
    loader = build_dataloader(tiny_data(), 4, 0)
    list(loader)
    assert torch.equal(state, torch.random.get_rng_state())


def test_set_epoch_changes_the_order_and_comes_back_to_it():
    loader = build_dataloader(tiny_data(), 12, 0)
    batches = []
    for epoch in (0, 1, 0):
        set_epoch(loader, epoch)
        batches.append(next(iter(loader))[0])
    assert torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[1])


def test_a_test_loader_keeps_the_datasets_order_and_is_marked():
    loader = build_dataloader(tiny_data(), 5, 0, shuffle=False, phase="val")
    assert torch.equal(torch.cat([points for points, _ in loader]), tiny_data().tensors[0])
    assert is_dealt(loader)
    assert not is_dealt([1, 2])


def test_a_sampler_of_the_users_and_an_iterable_dataset_are_taken_as_they_are():
    sampler = SequentialSampler(tiny_data())
    loader = build_dataloader(tiny_data(), 4, 0, sampler=sampler)
    assert loader.sampler is sampler

    class Stream(IterableDataset[int]):
        def __iter__(self):
            return iter(range(6))

    assert [len(one) for one in build_dataloader(Stream(), 4, 0)] == [4, 2]


def test_arguments_of_the_dataloader_go_through():
    loader = build_dataloader(
        tiny_data(), 5, 0, drop_last=True, pin_memory=False, collate_fn=Collation()
    )
    assert [len(points) for points, _ in loader] == [5, 5]
    assert loader.batch_size == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0"),
        ({"num_workers": -1}, "num_workers: -1"),
        ({"phase": "valid"}, "phase: 'valid' is none of train, test, val"),
        ({"batch_size": 13, "drop_last": True}, "13 samples for one step"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    arguments = {"batch_size": 4, "num_workers": 0, **options}
    with pytest.raises(ConfigError, match=message):
        build_dataloader(tiny_data(), **arguments)


@given(st.lists(st.integers()))
def test_look_ahead_knows_the_last_item(items):
    found = list(look_ahead(items))
    assert [item for item, _ in found] == items
    assert [is_last for _, is_last in found] == [False] * (len(items) - 1) + [True] * bool(items)


def test_collation_stacks_what_can_be_stacked_by_key_and_by_position():
    items = [
        {"image": torch.ones(2), "boxes": torch.ones(n, 4), "name": str(n), "id": n} for n in (1, 2)
    ]
    batch = Collation()(items)
    assert batch["image"].shape == (2, 2)
    assert [len(boxes) for boxes in batch["boxes"]] == [1, 2]
    assert batch["name"] == ["1", "2"]
    assert batch["id"].tolist() == [1, 2]
    assert isinstance(Collation({"image": False})(items)["image"], list)
    pairs = Collation()([(torch.ones(2), "a"), (torch.ones(2), "b")])
    assert pairs[0].shape == (2, 2)
    assert pairs[1] == ["a", "b"]
    with pytest.raises(TypeError, match="returned a int"):
        Collation()([1, 2])
