"""RngFence: no draw of training's depends on what is drawn inside, by the quick way or the slow."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from basetrainer.data import rng_fence
from basetrainer.data.loader import build_dataloader
from basetrainer.data.resume import set_position
from basetrainer.data.rng_fence import RngFence
from basetrainer.data.seeding import seed_generators

NUMPY: Any = np.random  # whose types lack two of its public functions
DRAWS: dict[str, Callable[[], float]] = {
    "torch": lambda: float(torch.rand(())),
    "torch, Gaussian": lambda: float(torch.randn(())),
    "numpy": lambda: float(np.random.rand()),
    "numpy, Gaussian": lambda: float(np.random.randn()),
    "numpy, integers": lambda: float(np.random.randint(1 << 40)),
    "Python": random.random,
    "Python, Gaussian": lambda: random.gauss(0, 1),
    "Python, integers": lambda: float(random.getrandbits(70)),
}
NOTHING: Callable[[], float] = lambda: 0.0  # noqa: E731 # one of the ways to draw


@pytest.fixture(params=["quick", "slow"], autouse=True)
def way(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way and the slow one, which serves where the memory is not known."""
    if request.param == "slow":
        monkeypatch.setattr(rng_fence, "_GAUSS", None)
        monkeypatch.setattr(rng_fence, "_KNOWS_PYTHON", False)


def everything() -> list[float]:
    return [draw() for draw in DRAWS.values()]


def inside() -> None:
    seed_generators(7)
    for _ in range(3):
        everything()
    np.random.randn()


@pytest.mark.parametrize("before", [0, 1, 2, 3, 311, 312, 623, 624, 625])
@pytest.mark.parametrize("name", DRAWS)
def test_the_fence_leaves_every_generator_as_it_was(name, before):
    def found(fence: bool) -> list[list[float]]:
        seed_generators(3)
        for _ in range(before):
            DRAWS[name]()
        outside = []
        for _ in range(3):
            if fence:
                with RngFence():
                    inside()
            outside.append(everything())
        return outside

    assert found(fence=True) == found(fence=False)


def test_inside_the_generators_go_on_until_they_are_seeded():
    seed_generators(3)
    np.random.rand()
    expected = [draw() for name, draw in DRAWS.items() if name != "numpy, Gaussian"]
    seed_generators(3)
    np.random.rand()
    with RngFence():
        assert [draw() for name, draw in DRAWS.items() if name != "numpy, Gaussian"] == expected


def test_fences_may_be_nested_and_left_by_an_error():
    seed_generators(3)
    np.random.randn()
    expected = everything()
    seed_generators(3)
    np.random.randn()
    with pytest.raises(ValueError, match="mine"), RngFence():  # noqa: PT012
        inside()
        np.random.randn()
        middle = np.random.get_state(legacy=False)["gauss"]
        with RngFence():
            inside()
        assert np.random.get_state(legacy=False)["gauss"] == middle
        raise ValueError("mine")
    assert everything() == expected


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.Philox, np.random.MT19937])
def test_a_generator_that_numpy_was_given_stays(kind):
    usual = NUMPY.get_bit_generator()
    try:
        NUMPY.set_bit_generator(kind(5))
        expected = [np.random.randn() for _ in range(3)]
        mine = kind(5)
        NUMPY.set_bit_generator(mine)
        first = np.random.randn()
        with RngFence():
            NUMPY.set_bit_generator(np.random.MT19937(1))
            np.random.randn()
        assert NUMPY.get_bit_generator() is mine
        assert [first, np.random.randn(), np.random.randn()] == expected
    finally:
        NUMPY.set_bit_generator(usual)


def test_the_memory_is_known_or_the_slow_way_taken(monkeypatch):
    generator = np.random.get_bit_generator  # type: ignore[attr-defined]
    for strange in (generator, object()):
        monkeypatch.setattr(rng_fence, "_NUMPYS", strange)
        assert rng_fence.place_of_gauss() is None
    monkeypatch.undo()
    monkeypatch.setattr(rng_fence, "_HEAD", rng_fence._HEAD + 4)
    assert not rng_fence.knows_python()
    monkeypatch.setattr(rng_fence, "_BYTES", 4 * 624)
    assert rng_fence.place_of_gauss() is None


class Drawing(Dataset[float]):
    """Draws for some of its samples."""

    def __init__(self, draw: Callable[[], float], when: str) -> None:
        self.draw = draw
        self.draws = {"always": set(range(24)), "sometimes": {5, 11, 20}, "never": set()}[when]

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> float:
        return self.draw() if index in self.draws else float(index)


@pytest.mark.parametrize("when", ["always", "sometimes", "never"])
@pytest.mark.parametrize("name", DRAWS)
def test_data_and_training_draw_the_same_whatever_the_other_does(name, when):
    def run(step_draws: Callable[[], float], start: int = 0) -> tuple[list[Any], list[float]]:
        seed_generators(11)
        loader = build_dataloader(Drawing(DRAWS[name], when), 4, 0)
        set_position(loader, 2, start)
        batches, drawn = [], []
        for batch in loader:
            batches.append(batch.tolist())
            drawn.append(step_draws())
        return batches, drawn

    batches, _ = run(NOTHING)
    for draw in DRAWS.values():
        seed_generators(11)
        expected = [draw() for _ in batches]
        assert run(draw) == (batches, expected)
        assert run(draw, start=4)[0] == batches[4:]
