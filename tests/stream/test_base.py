from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainonce.stream.base import Contiguous, Pieces

WIDTH = 5


@given(data=st.data(), lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_pieces_read_as_if_they_stood_one_after_the_other(
    data: st.DataObject, lengths: list[int]
) -> None:
    lengths = [*lengths, WIDTH]
    arrays = [np.arange(1000, 1100, dtype="<u2"), np.arange(2000, 2100, dtype="<i4")]
    numbers = np.array([data.draw(st.integers(0, 1)) for _ in lengths])
    starts = np.array([data.draw(st.integers(0, 100 - length)) for length in lengths])
    whole = np.concatenate(
        [arrays[n][s : s + k] for n, s, k in zip(numbers, starts, lengths, strict=True)]
    )
    pieces = Pieces(
        arrays, numbers, starts, np.concatenate([[0], np.cumsum(lengths)]), np.dtype(np.uint32)
    )
    assert len(pieces) == len(whole)
    places = np.array(data.draw(st.lists(st.integers(0, len(whole) - WIDTH), max_size=6)), int)
    expected = [whole[place : place + WIDTH].tolist() for place in places]
    for base in (pieces, Contiguous(whole)):
        assert base.take(places, WIDTH).tolist() == expected


def test_rows_are_copies() -> None:
    tokens = np.arange(20, dtype=np.uint16)
    tokens.setflags(write=False)
    bounds = np.array([0, 20])
    for base in (
        Contiguous(tokens),
        Pieces([tokens], bounds[:1], bounds[:1], bounds, tokens.dtype),
    ):
        rows = base.take(np.array([0, 3]), WIDTH)
        rows += 1
        assert tokens[0] == 0
