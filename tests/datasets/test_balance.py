from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.datasets.balance import (
    STRENGTHS,
    balanced_order,
    class_shares,
    resample_weights,
    sample_weights,
)
from basetrainer.errors import ConfigError, UnknownNameError

strengths = st.sampled_from(sorted(STRENGTHS))
counts = st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any)


def targets_of(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def test_the_strengths_have_their_old_meaning():
    sizes = [900, 100]
    assert class_shares(sizes, "y").tolist() == [0.9, 0.1]
    assert class_shares(sizes, "mean").tolist() == [0.5, 0.5]
    root = [math.sqrt(901), math.sqrt(101)]
    assert class_shares(sizes, "SQRT").tolist() == pytest.approx([x / sum(root) for x in root])
    log = [math.log(901), math.log(101)]
    assert class_shares(sizes, "log").tolist() == pytest.approx([x / sum(log) for x in log])
    assert class_shares([5, 0, 5], "mean").tolist() == [0.5, 0.0, 0.5]


@given(counts)
def test_every_balance_lifts_the_rarest_class_and_mean_most(sizes):
    shares = {name: class_shares(sizes, name) for name in STRENGTHS}
    rarest = min((size, place) for place, size in enumerate(sizes) if size)[1]
    for name in (
        "sqrt",
        "log",
    ):  # between them the order depends on the sizes: of 1 and 2 sqrt wins
        assert shares["y"][rarest] <= shares[name][rarest] + 1e-12
        assert shares[name][rarest] <= shares["mean"][rarest] + 1e-12
    many = [size + 50 for size in sizes if size]
    assert class_shares(many, "sqrt").min() <= class_shares(many, "log").min() + 1e-12


@given(counts, strengths)
def test_weights_have_mean_one_and_give_each_class_its_share(sizes, balance):
    targets = targets_of(sizes)
    weights = sample_weights(targets, balance)
    assert weights.dtype == torch.float64
    assert weights.mean().item() == pytest.approx(1.0)
    got = np.bincount(targets, weights.numpy(), minlength=len(sizes)) / len(targets)
    assert got == pytest.approx(class_shares(sizes, balance))


@given(counts, strengths, st.integers(0, 2**64 - 1), st.integers(0, 50), st.integers(0, 200))
def test_an_epoch_shows_every_sample_as_often_as_its_weight_says(
    sizes, balance, seed, epoch, num_samples
):
    weights = sample_weights(targets_of(sizes), balance)
    order = balanced_order(weights, num_samples, seed, epoch)
    assert order.dtype == torch.int64
    assert len(order) == num_samples
    shown = torch.bincount(order, minlength=len(weights))
    expected = weights * num_samples / weights.sum()
    assert (shown >= (expected - 1e-6).floor()).all()
    assert (shown <= (expected + 1e-6).ceil()).all()
    for weight in weights.unique():
        alike = weights == weight
        assert abs(shown[alike].sum() - expected[alike].sum()) <= 1 + 1e-6


@given(st.integers(1, 300), st.floats(1e-3, 1e3), st.integers(0, 9), st.integers(0, 9))
def test_equal_weights_are_a_plain_shuffle(number, weight, seed, epoch):
    order = balanced_order(torch.full((number,), weight), number, seed, epoch)
    assert sorted(order.tolist()) == list(range(number))


def test_the_order_is_a_function_of_its_arguments_and_touches_no_generator():
    weights = sample_weights(targets_of([30, 5, 1]))
    state = torch.random.get_rng_state()
    first = balanced_order(weights, 36, 7, 0)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, balanced_order(weights, 36, 7, 0))
    assert not torch.equal(first, balanced_order(weights, 36, 7, 1))
    assert not torch.equal(first, balanced_order(weights, 36, 8, 0))


def test_over_epochs_every_sample_of_a_large_class_comes_equally_often():
    weights = sample_weights(targets_of([40, 4]))
    epochs = [balanced_order(weights, 44, 0, epoch) for epoch in range(400)]
    shown = torch.bincount(torch.cat(epochs), minlength=44).double() / 400
    assert (shown - weights).abs().max() < 0.15


def test_a_weight_of_zero_is_never_shown():
    order = balanced_order(torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0]), 400, 0, 0)
    assert torch.bincount(order, minlength=5).tolist() == [0, 100, 0, 300, 0]


def test_of_several_labels_the_rarest_decides():
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]])
    # Three times the first class, once the second, once none.
    shares = class_shares([3, 1, 1], "mean")
    expected = [shares[0] * 4 / 3] * 2 + [shares[1] * 4, shares[2] * 4]
    assert sample_weights(targets).tolist() == pytest.approx(expected)


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(UnknownNameError, match=r"Unknown balance 'man'. Did you mean 'mean'"):
        class_shares([1, 2], "man")
    with pytest.raises(ConfigError, match="No class has an image"):
        sample_weights(np.zeros(0, dtype=np.int64))
    for weights in ([0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0], []):
        with pytest.raises(ConfigError, match="weights must be finite"):
            balanced_order(torch.tensor(weights), 3, 0, 0)


def test_the_setting_resample_is_a_strength_or_true_for_mean_or_nothing():
    targets = targets_of([8, 2])
    for nothing in (None, False, ""):
        assert resample_weights(targets, nothing) is None
    for value, strength in ((True, "mean"), ("sqrt", "sqrt")):
        weights = resample_weights(targets, value)
        assert weights is not None
        assert torch.equal(weights, sample_weights(targets, strength))
    with pytest.raises(UnknownNameError, match="Did you mean 'mean'"):
        resample_weights(targets, "meen")


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([], "there is nothing to balance"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ([0, -1], r"\[0, -1\]... are no class indices"),
        ([0.0, 1.0], "whole numbers from 0 on"),
        (["cat", "dog"], r"\['cat', 'dog'\]... are no class indices"),
    ],
)
def test_targets_that_are_no_labels_are_refused(targets, said):
    with pytest.raises(ConfigError, match=said):
        sample_weights(targets)
