"""EpochStream: its place in an endless stream, wherever epochs and passes end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.data.loader import build_dataloader
from basetrainer.data.resume import fingerprint, position_state, resume_promise, set_position
from basetrainer.data.stream import EpochStream
from basetrainer.errors import ConfigError
from tests.data.pictures import Counted, Stream, digest


def values(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


@given(
    size=st.integers(1, 12),
    num_steps=st.integers(1, 7),
    epoch=st.integers(0, 3),
    step=st.integers(0, 6),
    counts=st.booleans(),
)
def test_a_stream_goes_on_wherever_it_stopped(size, num_steps, epoch, step, counts):
    step = min(step, num_steps - 1)

    def stream() -> EpochStream:
        return EpochStream(build_dataloader(Counted(size), 2, 0), num_steps)

    whole = stream()
    epochs = []
    state = position_state(whole, 0, 0)
    for number in range(epoch + 2):
        epochs.append(values(whole))
        if number == epoch:
            state = position_state(whole, epoch, step)
    again = stream()
    assert set_position(again, epoch, step, None if counts else state) == step
    assert values(again) == epochs[epoch][step:]
    assert values(again) == epochs[epoch + 1]
    later = position_state(again, epoch + 2, 0)
    assert later == position_state(whole, epoch + 2, 0)


def test_a_stream_over_an_iterable_dataset_keeps_its_state():
    whole = EpochStream(build_dataloader(Stream(10), 3, 0), 6)  # passes of 4 batches
    batches = [list(whole), list(whole)]
    state = position_state(whole, 1, 4)
    assert state == {"pass": 2, "batch": 2, "data": {"dataset": {"place": 6}}}
    again = EpochStream(build_dataloader(Stream(10), 3, 0), 6)
    assert set_position(again, 1, 4, state) == 4
    assert digest(again) == digest(batches[1][4:])


def test_over_a_loader_that_cannot_be_placed_the_epoch_starts_anew():
    stream = EpochStream([1, 2, 3, 4], 3)
    list(stream)
    state = position_state(stream, 1, 1)
    assert (state["pass"], state["batch"]) == (1, 0)
    again = EpochStream([1, 2, 3, 4], 3)
    assert set_position(again, 1, 2, {"pass": 1, "batch": 1}) == 0
    assert [list(again), list(again)] == [[1, 2, 3], [4, 1, 2]]
    assert resume_promise(again)[0] == "from the epoch's start"


def test_a_stream_has_the_fingerprint_of_its_loader_and_the_length_of_an_epoch():
    stream = EpochStream(build_dataloader(Counted(5), 2, 0), 7)
    assert fingerprint(stream)["steps_per_epoch"] == 7
    assert fingerprint(stream)["num_samples"] == 5
    assert resume_promise(stream) == ("bit-exact", "")
    assert len(stream) == 7


def test_a_generator_that_ran_out_is_named():
    stream = EpochStream((number for number in range(2)), 3)
    with pytest.raises(ConfigError, match="pass 1 over the training data had none"):
        list(stream)
