from __future__ import annotations

import os
import pickle

from hypothesis import given
from hypothesis import strategies as st

from basetrainer.datasets.path_table import LazySequence, PathTable

names = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0."), min_size=1))


@given(names)
def test_paths_come_back_as_they_went_in(paths):
    table = pickle.loads(pickle.dumps(PathTable("root", paths)))
    assert [table.path(place) for place in range(len(table))] == [f"root/{path}" for path in paths]


def test_absolute_paths_stay_and_names_that_are_not_text_survive():
    strange = os.fsdecode(b"caf\xe9.png")
    table = PathTable("root", ["/abs/a.png", strange])
    assert table.path(0) == "/abs/a.png"
    assert os.fsencode(table.path(1)) == b"root/caf\xe9.png"


def test_a_lazy_sequence_reads_like_a_list():
    class Squares(LazySequence[int]):
        def __len__(self):
            return 4

        def _item(self, place):
            return place * place

    squares = Squares()
    assert list(squares) == [0, 1, 4, 9]
    assert squares[-1] == 9
    assert squares[1:3] == [1, 4]
    assert 4 in squares
